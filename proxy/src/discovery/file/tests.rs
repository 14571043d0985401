//! Files that people and programs swap.

use std::fs;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::discovery::report::News;

/// For whatever comes at once.
const SOON: Duration = Duration::from_secs(10);

/// A file that is followed.
struct Followed {
    folder: TempDir,
    heard: mpsc::Receiver<News>,
    _task: JoinSet<()>,
}

impl Followed {
    fn new(name: &str, format: FileFormat, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let source = FileSource {
            path: folder.path().join(name),
            format,
            refresh: Duration::from_millis(100),
            manner: Manner::default(),
        };
        let (report, heard) = Report::for_tests();
        let mut task = JoinSet::new();
        task.spawn(follow(source, report));
        Self {
            folder,
            heard,
            _task: task,
        }
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.folder.path().join("..new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// The URLs, or the failure with the folder left out.
    async fn word(&mut self) -> Result<Vec<String>, String> {
        let (_, word) = timeout(SOON, self.heard.recv()).await.unwrap().unwrap();
        let folder = format!("{}/", self.folder.path().display());
        match word {
            Ok(found) => Ok(found.iter().map(|found| found.url.to_string()).collect()),
            Err(why) => Err(why.replace(&folder, "")),
        }
    }

    /// Looks go on until one says so.
    async fn says(&mut self, expected: Result<&[&str], &str>) {
        let is_it = |word: &Result<Vec<String>, String>| match (word, expected) {
            (Ok(urls), Ok(expected)) => urls == expected,
            (Err(why), Err(expected)) => why.contains(expected),
            _ => false,
        };
        let mut last = None;
        for _ in 0..50 {
            let word = self.word().await;
            if is_it(&word) {
                return;
            }
            last = Some(word);
        }
        panic!("{last:?} instead of {expected:?}");
    }
}

/// Case 5.
#[tokio::test]
async fn a_file_that_changes_breaks_or_vanishes_is_noticed() {
    let mut file = Followed::new("endpoints", FileFormat::Lines, |folder| {
        fs::write(folder.join("endpoints"), "http://a:9090\r\n# b\r\n\r\n").unwrap();
    });
    assert_eq!(file.word().await.unwrap(), ["http://a:9090"]);
    file.write("endpoints", "http://b:9090/x\n");
    file.says(Ok(&["http://b:9090/x"])).await;
    file.write("endpoints", "http://b:9090/x\nhttp://u:s3cret@c:x\n");
    file.says(Err("endpoints:2: \"x\" is no port")).await;
    fs::remove_file(file.folder.path().join("endpoints")).unwrap();
    file.says(Err("endpoints: No such file")).await;
    file.write("endpoints", "");
    file.says(Ok(&[])).await;
    file.write("endpoints", "http://a:9090");
    file.says(Ok(&["http://a:9090"])).await;
}

/// mpp's load test swaps its list every 250 ms; nothing but whole lists may come of it.
#[tokio::test]
async fn a_list_that_is_swapped_all_the_time_is_never_seen_half() {
    let mut file = Followed::new("endpoints", FileFormat::Lines, |_| {});
    file.says(Err("No such file")).await;
    let lists = [
        "http://a:9090\nhttp://b:9091\n",
        "http://c:9092\nhttp://d:9093\nhttp://e:9094\n",
    ];
    let whole = lists.map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut seen = [false; 2];
    for turn in 0..8 {
        file.write("endpoints", lists[turn % 2]);
        tokio::time::sleep(Duration::from_millis(250)).await;
        while let Ok((_, word)) = file.heard.try_recv() {
            // Between the last look before the first list and that list it was missing.
            let Ok(found) = word else { continue };
            let urls: Vec<String> = found.iter().map(|found| found.url.to_string()).collect();
            let at = whole.iter().position(|list| *list == urls);
            seen[at.unwrap_or_else(|| panic!("{urls:?}"))] = true;
        }
    }
    assert_eq!(seen, [true, true]);
}

#[tokio::test]
async fn a_file_that_is_being_written_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints");
    let (report, _heard) = Report::for_tests();
    fs::write(&path, "http://a:9090\nhttp://b:9").unwrap();
    let write = {
        let path = path.clone();
        async move {
            // Between the first look and the second one.
            tokio::time::sleep(Duration::from_millis(10)).await;
            fs::write(&path, "http://a:9090\nhttp://b:9091\n").unwrap();
        }
    };
    // When both have waited long enough, the writer is first.
    let ((), texts) = tokio::join!(biased; write, read::settled(&path, &[], &report));
    let texts = texts.unwrap().unwrap();
    assert_eq!(texts[0].text, "http://a:9090\nhttp://b:9091\n");
    let again = read::settled(&path, &texts, &report).await;
    assert_eq!(again, Ok(None), "what is known needs no second look");
}

#[tokio::test(start_paused = true)]
async fn a_file_left_alone_is_taken_at_the_first_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints");
    let (report, _heard) = Report::for_tests();
    for (age, wait) in [(60, 0), (0, 50)] {
        fs::write(&path, "http://a:9090").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let modified = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(modified).unwrap();
        let begun = tokio::time::Instant::now();
        read::settled(&path, &[], &report).await.unwrap().unwrap();
        // The clock stands still but for what is slept, to the millisecond.
        let waited = begun.elapsed().as_millis();
        assert!((wait..=wait + 1).contains(&waited), "{waited} ms");
    }
}

#[tokio::test]
async fn all_files_of_a_pattern_are_one_list() {
    let mut file = Followed::new("*.json", FileFormat::FileSd, |folder| {
        fs::write(folder.join("a.json"), r#"[{"targets": ["a:9090"]}]"#).unwrap();
        fs::write(folder.join("b.json"), r#"[{"targets": ["b:9090"]}]"#).unwrap();
        fs::write(folder.join("b.yml"), "- no list").unwrap();
    });
    assert_eq!(
        file.word().await.unwrap(),
        ["http://a:9090", "http://b:9090"]
    );
    file.write("c.json", r#"[{"targets": ["c:9090"]"#);
    file.says(Err("c.json:1:")).await;
    file.write("c.json", r#"[{"targets": ["c:9090"]}]"#);
    file.says(Ok(&["http://a:9090", "http://b:9090", "http://c:9090"]))
        .await;
    for name in ["a.json", "b.json", "c.json"] {
        fs::remove_file(file.folder.path().join(name)).unwrap();
    }
    file.says(Ok(&[])).await;
}

#[tokio::test]
async fn what_is_not_json_is_yaml() {
    let mut file = Followed::new("targets.yml", FileFormat::FileSd, |folder| {
        let text = "- targets: [a:9090]\n  labels: {__scheme__: https}\n";
        fs::write(folder.join("targets.yml"), text).unwrap();
    });
    assert_eq!(file.word().await.unwrap(), ["https://a:9090"]);
    file.write("targets.yml", "- targets: [a:9090]\n  lables: {}\n");
    file.says(Err("targets.yml:2:3: unknown key \"lables\""))
        .await;
}

#[tokio::test]
async fn a_folder_or_a_huge_file_is_none() {
    let mut file = Followed::new("endpoints", FileFormat::Lines, |folder| {
        fs::create_dir(folder.join("endpoints")).unwrap();
    });
    assert_eq!(file.word().await, Err("endpoints: is no file".to_owned()));
    let mut file = Followed::new("endpoints", FileFormat::Lines, |folder| {
        let file = fs::File::create(folder.join("endpoints")).unwrap();
        file.set_len(1 << 30).unwrap();
    });
    let error = file.word().await.unwrap_err();
    assert!(error.contains("endpoints: has over"), "{error}");
}
