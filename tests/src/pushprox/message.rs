//! Heads, and the bodies of answers as far as they have come.

/// A first line and fields.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) line: String,
    /// Names as they came, values without surrounding space.
    pub(super) fields: Vec<(String, Vec<u8>)>,
}

/// Where the head at the front ends, its empty line included.
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    end.map(|at| at + 4)
}

impl Message {
    /// Reads a head; what is against the grammar is left out.
    pub(super) fn parse(head: &[u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let fields = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        });
        Self {
            line,
            fields: fields.collect(),
        }
    }

    /// The first value of a field, by its name in any case.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// Of a status line; 0 when there is none.
    pub(super) fn status(&self) -> u16 {
        let status = self.line.split(' ').nth(1);
        status.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Whether the connection is good for another request when this answer is at its end.
    pub(super) fn keeps_alive(&self) -> bool {
        let close = self.field("connection");
        let close = close.is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.line.starts_with("HTTP/1.1 ") && !close
    }

    /// Whether the body goes on until the connection ends.
    pub(super) fn until_close(&self) -> bool {
        self.field("transfer-encoding").is_none() && self.field("content-length").is_none()
    }

    /// What is there of the body in `raw`, the bytes behind the head; and how many of them it took
    /// when it is all there.
    pub(super) fn body(&self, raw: &[u8]) -> (Vec<u8>, Option<usize>) {
        if self.field("transfer-encoding").is_some() {
            return unchunk(raw);
        }
        let length = self.field("content-length");
        let Some(length) = length.and_then(|text| text.parse::<usize>().ok()) else {
            return (raw.to_vec(), None);
        };
        let body = &raw[..length.min(raw.len())];
        (body.to_vec(), (body.len() == length).then_some(length))
    }
}

fn unchunk(raw: &[u8]) -> (Vec<u8>, Option<usize>) {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = &raw[at..];
        let line = rest.windows(2).position(|window| window == b"\r\n");
        let size = line.and_then(|end| {
            let size = std::str::from_utf8(&rest[..end]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            Some((end + 2, size))
        });
        let Some((start, size)) = size else {
            return (body, None);
        };
        let chunk = &rest[start.min(rest.len())..];
        if size == 0 {
            return (body, chunk.starts_with(b"\r\n").then_some(at + start + 2));
        }
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        if chunk.len() < size + 2 {
            return (body, None);
        }
        at += start + size + 2;
    }
}
