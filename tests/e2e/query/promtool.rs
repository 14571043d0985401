//! `promtool query` through the query side says what it says of the server itself.

use adit_tests::program::{Program, debian};

use super::homes::{Homes, last_scrape};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_cannot_tell_the_query_side_from_a_prometheus() {
    let promtool = debian("promtool", "prometheus");
    let homes = Homes::start().await;
    for (prometheus, prefix) in homes.each() {
        let end = last_scrape(prometheus).await;
        let start = format!("{}", end.parse::<f64>().unwrap() - 60.0);
        let (time, from, to) = (
            format!("--time={end}"),
            format!("--start={start}"),
            format!("--end={end}"),
        );
        for (command, rest, says) in [
            (&["instant", &time][..], &["n * 2"][..], "n=\"19\""),
            (&["range", &from, &to, "--step=1s"], &["sum(n)"], "190 @"),
            (
                &["series", "--match=n", "--match=room", &from, &to],
                &[],
                "__name__=\"room\"",
            ),
            (&["labels", &from, &to], &["n"], "19"),
        ] {
            let run = async |server: String| {
                // The server comes behind the flags.
                let args = [&["query"], command, &[&*server], rest].concat();
                let done = Program::run(&promtool, &args).await;
                assert_eq!(done.status.code(), Some(0), "{args:?}: {done:?}");
                done.stdout
            };
            let direct = run(format!("http://{}", prometheus.address)).await;
            assert!(direct.contains(says), "{command:?}: {direct}");
            let through = run(format!("http://{}{prefix}", homes.side.query)).await;
            assert_eq!(through, direct, "{command:?} {prefix}");
        }
        let args = [
            "query",
            "instant",
            &format!("http://{}{prefix}", homes.side.query),
            "sum(",
        ];
        let wrong = Program::run(&promtool, &args).await;
        assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
        assert!(wrong.stderr.contains("parse error"), "{wrong:?}");
    }
}
