//! What people may know of pools and backends, in one place: for pages, for JSON.
