//! What requests tell of a backend, between two probes.

use tokio::time::Instant;

use super::{Backend, Failure};

impl Backend {
    /// It has answered, whatever it said: also that the query is wrong.
    pub(crate) fn answered(&self) {
        // Nearly always there is nothing to forget, and nobody has to wait.
        if self.standing.borrow().has_failed() {
            self.standing.send_if_modified(|standing| {
                standing.answered();
                false
            });
        }
    }

    /// It gave no answer, or not all of it. Not for callers who left, nor for what took as long as the
    /// caller had said. Whether it is left alone for a while from now on.
    pub(crate) fn failed(&self, failure: &Failure) -> bool {
        match failure {
            // Our own bound, not its fault.
            Failure::Busy(_) => return false,
            // The probe that follows sees whether there is another session already; or whether its client
            // offers it at all.
            Failure::TunnelLost(_) | Failure::Unaskable(_) => {
                self.probe_now();
                return false;
            }
            Failure::Connect(_) | Failure::Tls(_) | Failure::Reset(_) => self.probe_now(),
            Failure::Truncated(_) | Failure::Deadline(_) => {}
        }
        self.has_failed(&failure.to_string())
    }

    /// It answered 503, not ready; `stopping` is what its `X-Prometheus-Stopping` says. Without that
    /// anybody in between may have said so: it counts as one failure, and a probe follows at once.
    pub(crate) fn not_ready(&self, stopping: Option<bool>) {
        match stopping {
            Some(stopping) => {
                self.standing.send_if_modified(|standing| {
                    standing.told_not_ready(stopping, &self.member, Instant::now())
                });
            }
            None => {
                self.has_failed("it says that it is not ready");
            }
        }
        self.probe_now();
    }

    /// Has it probed at once.
    pub(crate) fn probe_now(&self) {
        self.wanted.notify_one();
    }

    fn has_failed(&self, why: &str) -> bool {
        self.standing.send_if_modified(|standing| {
            standing.failed(why, &self.rules, &self.member, Instant::now())
        })
    }
}
