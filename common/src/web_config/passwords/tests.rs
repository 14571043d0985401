//! What is asked of bcrypt, and how often: what time would show.

use std::future::Future;
use std::task::Poll;

use futures_util::future::join_all;

use super::*;

fn hash(password: &str) -> PasswordHash {
    bcrypt::hash(password, 4).unwrap().parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn asked(passwords: &Passwords) -> Vec<u32> {
    lock(&passwords.answers).asked.clone()
}

fn in_line(passwords: &Passwords) -> usize {
    lock(&passwords.turns).len()
}

#[tokio::test]
async fn an_answer_is_found_once_and_known_then() {
    let passwords = Passwords::new();
    let hash = hash("s3cret");
    for (password, right) in [("s3cret", true), ("wrong", false)] {
        let password = secret(password);
        assert_eq!(passwords.known(Some(&hash), "prom", &password), None);
        for _ in 0..3 {
            let verdict = passwords.check(Some(&hash), 10, "prom", &password).await;
            assert_eq!(verdict, right.into());
            assert_eq!(passwords.known(Some(&hash), "prom", &password), Some(right));
        }
    }
    assert_eq!(asked(&passwords), [4, 4]);
    assert_eq!(in_line(&passwords), 0);
}

#[tokio::test]
async fn what_is_known_is_known_of_this_user_and_this_hash_only() {
    let passwords = Passwords::new();
    let (old, new) = (hash("s3cret"), hash("other"));
    let password = secret("s3cret");
    assert_eq!(
        passwords.check(Some(&old), 4, "prom", &password).await,
        Verdict::Right
    );
    assert_eq!(passwords.known(Some(&old), "grafana", &password), None);
    assert_eq!(passwords.known(None, "prom", &password), None);
    // The user's password was changed in the file.
    assert_eq!(passwords.known(Some(&new), "prom", &password), None);
    assert_eq!(
        passwords.check(Some(&new), 4, "prom", &password).await,
        Verdict::Wrong
    );
    // Neither part leaks into the next: "a" + "bc" is not "ab" + "c".
    assert_ne!(
        passwords.tag(None, "a", &secret("bc")),
        passwords.tag(None, "ab", &secret("c"))
    );
    // Another process knows it under another key.
    let other = Passwords::new();
    assert_ne!(
        passwords.tag(None, "a", &password),
        other.tag(None, "a", &password)
    );
}

#[tokio::test]
async fn an_unknown_user_costs_as_much_as_a_known_one() {
    let passwords = Passwords::new();
    let hash = hash("s3cret");
    for user in ["prom", "nobody"] {
        let known = (user == "prom").then_some(&hash);
        for password in ["one", "two", "one"] {
            let verdict = passwords
                .check(known, hash.cost(), user, &secret(password))
                .await;
            assert_eq!(verdict, Verdict::Wrong);
        }
    }
    assert_eq!(asked(&passwords), [4; 4]);
    let none = secret("");
    assert_eq!(
        passwords.check(None, 5, "nobody", &none).await,
        Verdict::Wrong
    );
    assert_eq!(asked(&passwords)[4], 5);
}

#[tokio::test]
async fn equal_checks_at_once_cost_one_whatever_their_number() {
    let passwords = Passwords::with(1);
    let (hash, password) = (hash("s3cret"), secret("s3cret"));
    let checks = (0..4 * WAITING).map(|_| passwords.check(Some(&hash), 4, "prom", &password));
    let verdicts = join_all(checks).await;
    assert!(verdicts.iter().all(|it| *it == Verdict::Right));
    assert_eq!(asked(&passwords), [4]);
    assert_eq!(in_line(&passwords), 0);
}

/// Polls once: the check is in its line then.
async fn started<F: Future<Output = Verdict> + Unpin>(check: &mut F) -> Poll<Verdict> {
    std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *check).poll(cx))).await
}

#[tokio::test]
async fn more_than_may_wait_are_told_so_at_once() {
    let passwords = Passwords::with(1);
    let running = Arc::clone(&passwords.running)
        .acquire_owned()
        .await
        .unwrap();
    let words: Vec<_> = (0..WAITING).map(|n| secret(&n.to_string())).collect();
    let more = secret("one more");
    let mut waiting = Vec::new();
    for word in &words {
        let mut check = Box::pin(passwords.check(None, 4, "nobody", word));
        assert!(started(&mut check).await.is_pending());
        waiting.push(check);
    }
    assert_eq!(
        passwords.check(None, 4, "nobody", &more).await,
        Verdict::Busy
    );
    // Who waits for the same answer takes no place; and who leaves makes room.
    let mut same = Box::pin(passwords.check(None, 4, "nobody", &words[0]));
    assert!(started(&mut same).await.is_pending());
    drop(waiting.pop());
    let mut check = Box::pin(passwords.check(None, 4, "nobody", &more));
    assert!(started(&mut check).await.is_pending());

    assert_eq!(asked(&passwords), [0; 0]);
    drop(running);
    waiting.push(check);
    waiting.push(same);
    let verdicts = join_all(waiting).await;
    assert!(
        verdicts.iter().all(|it| *it == Verdict::Wrong),
        "{verdicts:?}"
    );
    assert_eq!(asked(&passwords).len(), WAITING);
    assert_eq!(in_line(&passwords), 0);
    assert_eq!(passwords.waiting.available_permits(), WAITING);
}

#[tokio::test]
async fn who_leaves_hands_the_question_on() {
    let passwords = Passwords::with(1);
    let running = Arc::clone(&passwords.running)
        .acquire_owned()
        .await
        .unwrap();
    let (hash, password) = (hash("s3cret"), secret("s3cret"));
    let mut first = Box::pin(passwords.check(Some(&hash), 4, "prom", &password));
    let mut second = Box::pin(passwords.check(Some(&hash), 4, "prom", &password));
    assert!(started(&mut first).await.is_pending());
    assert!(started(&mut second).await.is_pending());
    drop(first);
    drop(running);
    assert_eq!(second.await, Verdict::Right);
    assert_eq!(asked(&passwords), [4]);
    assert_eq!(in_line(&passwords), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let passwords = Passwords::with(1);
    let _running = Arc::clone(&passwords.running)
        .acquire_owned()
        .await
        .unwrap();
    let before = Instant::now();
    let password = secret("x");
    let one = passwords.check(None, 4, "nobody", &password);
    let same = passwords.check(None, 4, "nobody", &password);
    assert_eq!(tokio::join!(one, same), (Verdict::Busy, Verdict::Busy));
    assert_eq!(before.elapsed().as_secs(), PATIENCE.as_secs());
    assert_eq!(in_line(&passwords), 0);
    assert_eq!(passwords.waiting.available_permits(), WAITING);
}

#[test]
fn wrong_answers_never_push_out_right_ones_and_the_oldest_goes_first() {
    let tag = |n: usize| {
        let mut tag = [0; 32];
        tag[..8].copy_from_slice(&n.to_be_bytes());
        tag
    };
    let mut answers = Answers::default();
    answers.put(tag(0), true);
    for n in 1..=10 * KEPT {
        answers.put(tag(n), false);
        assert!(answers.wrong.used.len() <= KEPT);
    }
    assert_eq!(answers.about(&tag(0)), Some(true));
    assert_eq!(answers.about(&tag(1)), None);
    assert_eq!(answers.about(&tag(10 * KEPT)), Some(false));

    for n in 1..KEPT {
        answers.put(tag(n), true);
    }
    // The first was of use a moment ago, so the second is forgotten for the next.
    assert_eq!(answers.about(&tag(0)), Some(true));
    answers.put(tag(KEPT), true);
    assert_eq!(answers.about(&tag(0)), Some(true));
    assert_eq!(answers.about(&tag(1)), None);
    assert_eq!(answers.right.used.len(), KEPT);
}
