//! The objects as the server has them: a list, and what has changed since.

use std::collections::BTreeMap;
use std::fmt;

use super::object::{Event, Group, Page};

/// Objects at most. A service has a slice for each hundred addresses.
const MOST: usize = 5000;

/// All objects of one kind.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<String, Vec<Group>>,
    /// From here a watch goes on.
    version: String,
}

/// The watch leads no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server has forgotten what was at our version: only a list helps.
    Expired,
    /// Something else.
    Failed(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("410 Gone"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl Store {
    /// Adds a page of the list that it is made of.
    pub(super) fn add(&mut self, page: Page) -> Result<(), Stop> {
        self.version = page.version;
        for object in page.objects {
            self.objects.insert(object.name, object.groups);
        }
        self.bounded()
    }

    /// Follows a line of the watch; whether anything is other than it was.
    pub(super) fn take(&mut self, event: Event) -> Result<bool, Stop> {
        let (version, changed) = match event {
            Event::Put(object) => {
                let before = self.objects.insert(object.name, object.groups.clone());
                self.bounded()?;
                (object.version, before.as_ref() != Some(&object.groups))
            }
            Event::Gone(object) => (object.version, self.objects.remove(&object.name).is_some()),
            Event::Bookmark(version) => (version, false),
            Event::Error(status) if status.code == 410 => return Err(Stop::Expired),
            Event::Error(status) => {
                let why = format!("the watch ended: {} ({})", status.message, status.code);
                return Err(Stop::Failed(why));
            }
            Event::Unknown => return Ok(false),
        };
        if !version.is_empty() {
            self.version = version;
        }
        Ok(changed)
    }

    fn bounded(&self) -> Result<(), Stop> {
        match self.objects.len() {
            ..=MOST => Ok(()),
            _ => Err(Stop::Failed(format!(
                "more than {MOST} objects: select fewer of them"
            ))),
        }
    }

    /// Where the next watch begins.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// What all of them say.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.objects.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::{Address, Object, Status};
    use super::*;

    fn object(name: &str, version: &str, host: &str) -> Object {
        Object {
            name: name.to_owned(),
            version: version.to_owned(),
            groups: vec![Group {
                addresses: vec![Address {
                    host: host.to_owned(),
                    pod: None,
                }],
                ..Group::default()
            }],
        }
    }

    fn hosts(store: &Store) -> Vec<&str> {
        let addresses = store.groups().flat_map(|group| &group.addresses);
        addresses.map(|address| address.host.as_str()).collect()
    }

    fn page(objects: Vec<Object>, version: &str) -> Page {
        Page {
            objects,
            version: version.to_owned(),
            next: None,
        }
    }

    #[test]
    fn it_is_as_the_server_has_it() {
        let mut store = Store::default();
        store.add(page(vec![object("a", "1", "A")], "7")).unwrap();
        store.add(page(vec![object("b", "2", "B")], "7")).unwrap();
        assert_eq!((hosts(&store), store.version()), (vec!["A", "B"], "7"));
        for (event, changed, there, version) in [
            (
                Event::Put(object("c", "8", "C")),
                true,
                vec!["A", "B", "C"],
                "8",
            ),
            (
                Event::Put(object("c", "9", "C")),
                false,
                vec!["A", "B", "C"],
                "9",
            ),
            (
                Event::Put(object("a", "10", "D")),
                true,
                vec!["D", "B", "C"],
                "10",
            ),
            (
                Event::Gone(object("b", "11", "B")),
                true,
                vec!["D", "C"],
                "11",
            ),
            // As when a watch starts anew before what it has said already.
            (
                Event::Gone(object("b", "12", "B")),
                false,
                vec!["D", "C"],
                "12",
            ),
            (Event::Bookmark("40".into()), false, vec!["D", "C"], "40"),
            (Event::Bookmark(String::new()), false, vec!["D", "C"], "40"),
            (Event::Unknown, false, vec!["D", "C"], "40"),
        ] {
            assert_eq!(store.take(event.clone()), Ok(changed), "{event:?}");
            assert_eq!((hosts(&store), store.version()), (there, version));
        }
    }

    #[test]
    fn an_error_ends_it_and_one_of_them_means_to_list_anew() {
        let mut store = Store::default();
        let error = |code, message: &str| {
            Event::Error(Status {
                code,
                message: message.to_owned(),
            })
        };
        let expired = error(410, "too old resource version: 1 (215)");
        assert_eq!(store.take(expired), Err(Stop::Expired));
        let Err(Stop::Failed(why)) = store.take(error(500, "etcd is away")) else {
            panic!("it failed");
        };
        assert!(why.contains("etcd is away (500)"), "{why}");
    }

    #[test]
    fn there_is_a_bound() {
        let mut store = Store::default();
        let many = (0..MOST).map(|n| object(&n.to_string(), "1", "A"));
        store.add(page(many.collect(), "1")).unwrap();
        assert_eq!(store.take(Event::Put(object("0", "2", "B"))), Ok(true));
        let over = store.take(Event::Put(object("x", "3", "C")));
        assert!(matches!(over, Err(Stop::Failed(_))), "{over:?}");
    }
}
