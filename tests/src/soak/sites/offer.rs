//! What a site offers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

/// Names, each with its ports and where they really are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::soak) struct Offer(BTreeMap<String, Vec<(u16, SocketAddr)>>);

impl Offer {
    /// With one more target.
    pub(in crate::soak) fn add(&mut self, name: &str, port: u16, address: SocketAddr) {
        let ports = self.0.entry(name.to_owned()).or_default();
        ports.push((port, address));
    }

    /// Takes a name out, with all of its targets.
    pub(in crate::soak) fn take(&mut self, name: &str) -> Self {
        let taken = self.0.remove(name).map(|ports| (name.to_owned(), ports));
        Self(taken.into_iter().collect())
    }

    /// With everything of another.
    pub(in crate::soak) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// All names.
    pub(in crate::soak) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Names and ports.
    pub(in crate::soak) fn targets(&self) -> Vec<(String, u16)> {
        let of_name = |(name, ports): (&String, &Vec<(u16, SocketAddr)>)| {
            let ports = ports.iter().map(|(port, _)| (name.clone(), *port));
            ports.collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_name).collect()
    }

    /// As the client's file says it.
    pub(in crate::soak) fn file(&self) -> String {
        let mut text = "targets:\n".to_owned();
        for (name, ports) in &self.0 {
            for (port, address) in ports {
                text.push_str(&format!(
                    "- {{target: \"{name}:{port}\", url: \"http://{address}\"}}\n"
                ));
            }
        }
        text
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_moves_with_all_of_its_targets() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (mut one, mut two) = (Offer::default(), Offer::default());
        one.add("a", 9100, at(1));
        one.add("a", 9200, at(2));
        one.add("b", 9100, at(3));
        two.add("c", 9100, at(4));
        two.join(one.take("a"));
        assert_eq!(
            (one.to_string(), two.to_string()),
            ("b".into(), "a,c".into())
        );
        assert_eq!(two.targets().len(), 3);
        assert!(
            two.file()
                .contains("\"a:9200\", url: \"http://127.0.0.1:2\"")
        );
        assert_eq!(one.take("a"), Offer::default());
    }
}
