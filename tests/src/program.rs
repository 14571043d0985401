//! A child process that ends with its owner.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::wait::{PATIENCE, within};

/// A running program. Dropping it kills it and waits; when the test is failing, what it wrote is
/// shown first.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdout: Written,
    stderr: Written,
}

/// The lines a program wrote, as they come.
type Written = watch::Receiver<Vec<String>>;

/// A program that ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub resident: u64,
    /// The most it ever was (`VmHWM`).
    pub peak: u64,
}

/// Where Debian has `program`.
///
/// # Panics
/// When it is not installed, naming the package: a test that cannot run has failed.
pub fn debian(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!("{program} is not installed: apt-get install {package} (`make test` does it)")
        })
}

impl Program {
    /// Starts `command` with nothing to read and its output kept.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = tied(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = written(child.stdout.take().expect("stdout is piped"));
        let stderr = written(child.stderr.take().expect("stderr is piped"));
        Self {
            name,
            child,
            stdout,
            stderr,
        }
    }

    /// Runs a program that is to end by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn run<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S]) -> Finished {
        Self::start(Command::new(program).args(args))
            .finished()
            .await
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard error so far.
    pub fn log(&self) -> String {
        self.stderr.borrow().join("\n")
    }

    /// Everything it wrote so far.
    pub fn output(&self) -> String {
        format!("{}\n{}", self.stdout.borrow().join("\n"), self.log())
    }

    /// What everybody on its machine can see of it: its arguments; and its environment, which not
    /// everybody can.
    ///
    /// # Panics
    /// When it has ended.
    pub fn visible(&self) -> String {
        let file = |name: &str| {
            let file = format!("/proc/{}/{name}", self.id());
            let bytes = std::fs::read(file).expect("the process runs");
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        file("cmdline") + &file("environ")
    }

    /// The first line of its standard error that has `part` in it, when it comes.
    ///
    /// # Panics
    /// When it does not come, or the program ends first; with all it said.
    pub async fn line(&self, part: &str) -> String {
        let line = self.line_or_end(part).await;
        line.unwrap_or_else(|| panic!("{} never said {part:?}:\n{}", self.name, self.log()))
    }

    /// The same; nothing when the program ends first.
    ///
    /// # Panics
    /// When neither comes.
    pub async fn line_or_end(&self, part: &str) -> Option<String> {
        self.lines(part, 1).await.into_iter().next()
    }

    /// Every line with `part` in it as soon as there are `count`, or the program has ended.
    ///
    /// # Panics
    /// When neither comes.
    pub async fn lines(&self, part: &str, count: usize) -> Vec<String> {
        let mut stderr = self.stderr.clone();
        let with = |lines: &Vec<String>| -> Vec<String> {
            lines
                .iter()
                .filter(|line| line.contains(part))
                .cloned()
                .collect()
        };
        let what = format!("{} says {part:?}, {count} times", self.name);
        let enough = stderr.wait_for(|lines| with(lines).len() >= count);
        // An error is its end, and the line may have been its last.
        let _ = within(PATIENCE, &what, enough).await;
        with(&self.stderr.borrow())
    }

    /// Sends a signal, by its name without `SIG`.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: &str) {
        // The shell's own: /bin/kill is in a package of its own.
        let script = format!("kill -{signal} {}", self.id());
        let status = Command::new("/bin/sh").args(["-c", &script]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{script}: {}",
            self.log()
        );
    }

    /// Ends it as a power cut would, and gives the moment.
    pub fn kill(&mut self) -> Instant {
        let moment = Instant::now();
        // An error means it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        moment
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn finished(mut self) -> Finished {
        let what = format!("the end of {}", self.name);
        for written in [&mut self.stdout, &mut self.stderr] {
            // `changed` fails when the pipe is closed.
            within(PATIENCE, &what, async {
                while written.changed().await.is_ok() {}
            })
            .await;
        }
        let status = self
            .child
            .wait()
            .expect("a child of ours can be waited for");
        Finished {
            status,
            stdout: self.stdout.borrow().join("\n"),
            stderr: self.stderr.borrow().join("\n"),
        }
    }

    /// Its memory now.
    ///
    /// # Panics
    /// When it has ended.
    pub fn memory(&self) -> Memory {
        let file = format!("/proc/{}/status", self.id());
        let text = std::fs::read_to_string(&file).expect("the process runs");
        let field = |name: &str| -> u64 {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.split_whitespace().nth(1))
                .and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("no {name} in {file}: {text}"))
        };
        Memory {
            resident: field("VmRSS") * 1024,
            peak: field("VmHWM") * 1024,
        }
    }
}

impl Drop for Program {
    #[expect(
        clippy::print_stderr,
        reason = "the test runner keeps it with the failing test"
    )]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // The pipe's end may still be on its way.
            std::thread::sleep(Duration::from_millis(50));
            eprintln!("--- {} said:\n{}\n---", self.name, self.log());
        }
    }
}

/// The same command, killed by the kernel when the thread that starts it ends: a test run that is
/// itself killed leaves nothing behind. The thread is the test's own or its runtime's.
fn tied(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

/// Reads lines on a thread, until the pipe ends; the sender goes with it.
fn written(pipe: impl Read + Send + 'static) -> Written {
    let (sender, receiver) = watch::channel(Vec::new());
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches('\n')
                .to_owned();
            sender.send_modify(|lines: &mut Vec<String>| lines.push(text));
            line.clear();
        }
    });
    receiver
}
