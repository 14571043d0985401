use proptest::prelude::*;

use crate::query::health::exposition::{Exposition, Found};

fn read(pieces: &[&[u8]]) -> Found {
    let mut page = Exposition::default();
    for piece in pieces {
        page.feed(piece);
    }
    page.finish()
}

#[test]
fn only_what_is_meant_is_found() {
    let found = read(&[br#"
# TYPE prometheus_tsdb_head_series gauge
prometheus_tsdb_head_series_created_total 5
 prometheus_tsdb_head_series	7 1700000000000
prometheus_tsdb_lowest_timestamp{a="}\"{",b="x"} 1.7e+12
prometheus_build_info{odd="a\\",goversion="go1", version="2.42.0+ds",} 1
process_start_time_seconds NaN
prometheus_local_storage_ingested_samples_total 12
prometheus_tsdb_head_samples_appended_total{type="float"} 99
prometheus_tsdb_head_series{
prometheus_tsdb_head_series seven
"#]);
    assert_eq!(found.head_series, Some(7.0));
    assert_eq!(found.oldest(), Some(1.7e9));
    assert_eq!(found.version.as_deref(), Some("2.42.0+ds"));
    assert_eq!(found.started(), None);
    // Case 6: Prometheus 1 has its own.
    assert_eq!(found.ingested_samples(), Some(12.0));
}

#[test]
fn a_line_without_end_is_none_and_the_next_one_counts() {
    let long = vec![b'p'; 1 << 20];
    let found = read(&[
        b"prometheus_tsdb_head_series 1\n",
        &long,
        b" 5\nprometheus_tsdb_head_series 2",
    ]);
    assert_eq!(found.head_series, Some(2.0));
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        lines in proptest::collection::vec(
            prop_oneof![
                "prometheus_tsdb_head_series(\\{[a-z]=\"[^\n]{0,6}\"\\})? [0-9]{1,5}",
                "process_start_time_seconds -?[0-9]{1,14}",
                "prometheus_build_info\\{version=\"[ -~]{0,9}\"\\} 1",
                "[ -~]{0,30}",
            ],
            0..8,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let page = lines.join("\n").into_bytes();
        let (one, other) = page.split_at(cut.index(page.len() + 1));
        prop_assert_eq!(read(&[one, other]), read(&[&page]));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut page = b"prometheus_build_info{".to_vec();
        page.extend(bytes);
        read(&[&page]);
    }
}
