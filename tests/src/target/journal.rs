//! What a target saw.

use std::time::Instant;

/// Every connection so far.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// In the order of their coming.
    pub connections: Vec<Connection>,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// When it came.
    pub opened: Instant,
    /// What was asked on it, in order.
    pub requests: Vec<Request>,
    /// For how many of them the script is through.
    pub answered: usize,
    /// Bytes the kernel has taken for it.
    pub written: u64,
    /// When it ended.
    pub closed: Option<Instant>,
    /// Whether the peer ended it, before the script was through.
    pub aborted: bool,
}

/// One request, exactly.
#[derive(Debug, Clone)]
pub struct Request {
    /// When its head was complete.
    pub at: Instant,
    /// The head with its empty line.
    pub head: String,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// In how many pieces the head came.
    pub pieces: usize,
}

impl Journal {
    /// Every request, in the order of their coming.
    pub fn in_order(&self) -> Vec<Request> {
        let mut requests: Vec<Request> = self.requests().cloned().collect();
        requests.sort_by_key(|request| request.at);
        requests
    }

    /// Every request, connection by connection.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.connections
            .iter()
            .flat_map(|connection| &connection.requests)
    }
}

impl Connection {
    /// One that has just come.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            requests: Vec::new(),
            answered: 0,
            written: 0,
            closed: None,
            aborted: false,
        }
    }
}

impl Request {
    /// Its first line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or("")
    }

    /// What follows the method.
    pub fn path(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or("")
    }

    /// Its fields as they came: name, value.
    pub fn fields(&self) -> Vec<(&str, &str)> {
        let lines = self
            .head
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty());
        lines.filter_map(|line| line.split_once(": ")).collect()
    }

    /// The value of a field, by its name in any case; several are joined by a bar.
    pub fn field(&self, name: &str) -> Option<String> {
        let fields = self.fields();
        let values: Vec<&str> = fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
            .collect();
        (!values.is_empty()).then(|| values.join("|"))
    }
}
