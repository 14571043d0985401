//! Fronts that can be a `proxy_url`: they pass absolute-form requests and CONNECT as they are.
