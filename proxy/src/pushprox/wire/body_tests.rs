use proptest::prelude::*;

use super::*;

/// A body fed in these pieces; with the push's length, or without.
fn decode<'a>(
    framing: Framing,
    to_come: Option<u64>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, BodyError> {
    let mut body = Body::new(framing, to_come)?;
    let mut out = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(data) = body.next(&mut input)? {
            assert!(!data.is_empty());
            out.extend_from_slice(&data);
        }
        assert!(input.is_empty());
    }
    out.extend(body.finish()?.unwrap_or_default());
    Ok(out)
}

fn decode_all(framing: Framing, push: &[u8]) -> Result<Vec<u8>, BodyError> {
    let known = Some(push.len() as u64);
    let whole = decode(framing, None, std::iter::once(push));
    assert_eq!(decode(framing, None, push.chunks(1)), whole, "{push:?}");
    assert_eq!(
        decode(framing, known, push.chunks(1)).is_ok(),
        whole.is_ok()
    );
    if whole.is_ok() {
        assert_eq!(decode(framing, known, std::iter::once(push)), whole);
    }
    whole
}

const MALFORMED_SIZE: BodyError = BodyError::Malformed("a chunk size");
const MALFORMED_END: BodyError = BodyError::Malformed("the end of a chunk");
const MALFORMED_EXTENSION: BodyError = BodyError::Malformed("a chunk extension");
const MALFORMED_TRAILER: BodyError = BodyError::Malformed("a trailer");

#[test]
fn a_whole_body_is_told_from_any_other() {
    use BodyError::{Trailing, Truncated};
    for (framing, push, body) in [
        (Framing::Empty, "", Ok("")),
        (Framing::Empty, "x", Err(Trailing)),
        (Framing::Length(0), "", Ok("")),
        (Framing::Length(0), "x", Err(Trailing)),
        (Framing::Length(4), "abcd", Ok("abcd")),
        (Framing::Length(9), "abcd", Err(Truncated)),
        (Framing::Length(9), "", Err(Truncated)),
        (Framing::Length(4), "abcde", Err(Trailing)),
        (Framing::Length(u64::MAX), "abcd", Err(Truncated)),
        (Framing::ToEnd, "", Ok("")),
        (Framing::ToEnd, "0\r\n\r\n", Ok("0\r\n\r\n")),
        (Framing::Chunked, "0\r\n\r\n", Ok("")),
        (Framing::Chunked, "7\r\nabcdefg\r\n0\r\n\r\n", Ok("abcdefg")),
        (
            Framing::Chunked,
            "3\r\nabc\r\n1\r\nd\r\n00\r\n\r\n",
            Ok("abcd"),
        ),
        (
            Framing::Chunked,
            "A\r\n0123456789\r\n0\r\n\r\n",
            Ok("0123456789"),
        ),
        (
            Framing::Chunked,
            "a\r\n0123456789\r\n0\r\nX-T: 1\r\nY:\r\n\r\n",
            Ok("0123456789"),
        ),
        (
            Framing::Chunked,
            "1;x=y;z=\"\t\u{e9}\"\r\na\r\n0;last\r\n\r\n",
            Ok("a"),
        ),
        (Framing::Chunked, "1 \t\r\na\r\n0 ;x\r\n\r\n", Ok("a")),
        (
            Framing::Chunked,
            "0000000000000001\r\na\r\n0\r\n\r\n",
            Ok("a"),
        ),
        (Framing::Chunked, "", Err(Truncated)),
        (Framing::Chunked, "4\r\nabcd\r\n", Err(Truncated)),
        (Framing::Chunked, "4\r\nabc", Err(Truncated)),
        (Framing::Chunked, "4\r\nabcd\r\n0\r\n", Err(Truncated)),
        (
            Framing::Chunked,
            "4\r\nabcd\r\n0\r\nX-T: 1\r\n",
            Err(Truncated),
        ),
        (Framing::Chunked, "0\r\n\r\nx", Err(Trailing)),
        (Framing::Chunked, "0\r\n\r\n0\r\n\r\n", Err(Trailing)),
        (Framing::Chunked, "ffffffffffffffff\r\nabc", Err(Truncated)),
        (
            Framing::Chunked,
            "10000000000000000\r\na",
            Err(BodyError::TooLong("a chunk size")),
        ),
        (
            Framing::Chunked,
            "00000000000000001\r\na",
            Err(BodyError::TooLong("a chunk size")),
        ),
        (
            Framing::Chunked,
            "\r\nabcd\r\n0\r\n\r\n",
            Err(MALFORMED_SIZE),
        ),
        (
            Framing::Chunked,
            "-1\r\na\r\n0\r\n\r\n",
            Err(MALFORMED_SIZE),
        ),
        (
            Framing::Chunked,
            "0x1\r\na\r\n0\r\n\r\n",
            Err(MALFORMED_SIZE),
        ),
        (
            Framing::Chunked,
            "1 1\r\na\r\n0\r\n\r\n",
            Err(MALFORMED_SIZE),
        ),
        (Framing::Chunked, "1\na\r\n0\r\n\r\n", Err(MALFORMED_SIZE)),
        (Framing::Chunked, "# HELP up\nup 1\n", Err(MALFORMED_SIZE)),
        (
            Framing::Chunked,
            "1;\n\r\na\r\n0\r\n\r\n",
            Err(MALFORMED_EXTENSION),
        ),
        (Framing::Chunked, "1\ra\r\n0\r\n\r\n", Err(MALFORMED_END)),
        (Framing::Chunked, "1\r\nab\r\n0\r\n\r\n", Err(MALFORMED_END)),
        (
            Framing::Chunked,
            "1\r\na\rb\r\n0\r\n\r\n",
            Err(MALFORMED_END),
        ),
        (Framing::Chunked, "1\r\na\n0\r\n\r\n", Err(MALFORMED_END)),
        (Framing::Chunked, "0\r\nX: 1\n\r\n", Err(MALFORMED_TRAILER)),
        (Framing::Chunked, "0\r\n\rx", Err(MALFORMED_TRAILER)),
        (Framing::Chunked, "0\r\n\n\n", Err(MALFORMED_TRAILER)),
    ] {
        let body = body.map(|body| body.as_bytes().to_vec());
        assert_eq!(
            decode_all(framing, push.as_bytes()),
            body,
            "{framing:?} {push:?}"
        );
    }
}

#[test]
fn what_is_not_data_has_bounds() {
    let extension = |n: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(n));
    let trailers = |n: usize| format!("0\r\n{}\r\n", "a\r\n".repeat(n));
    let space = format!("1{}\r\n", " ".repeat(5000));
    let most = usize::from(MAX_EXTENSION);
    let too_long = |what| Err(BodyError::TooLong(what));
    for (push, body) in [
        (extension(most), Ok(b"a".to_vec())),
        (extension(most + 1), too_long("a chunk extension")),
        (space, too_long("a chunk extension")),
        (trailers(usize::from(MAX_TRAILERS)), Ok(vec![])),
        (
            trailers(usize::from(MAX_TRAILERS) + 1),
            too_long("the section of trailers"),
        ),
        // The bound is for one chunk's.
        (
            format!("1;{0}\r\na\r\n", "x".repeat(most)).repeat(3) + "0\r\n\r\n",
            Ok(b"aaa".to_vec()),
        ),
    ] {
        assert_eq!(decode_all(Framing::Chunked, push.as_bytes()), body);
    }
}

#[test]
fn a_length_tells_a_cut_body_before_a_byte_is_passed() {
    use BodyError::{Trailing, Truncated};
    for (framing, to_come, refused) in [
        (Framing::Length(9), 8, Some(Truncated)),
        (Framing::Length(9), 9, None),
        (Framing::Length(9), 10, Some(Trailing)),
        (Framing::Empty, 0, None),
        (Framing::Empty, 1, Some(Trailing)),
        (Framing::Chunked, 4, Some(Truncated)),
        (Framing::Chunked, 5, None),
        (Framing::ToEnd, 0, None),
    ] {
        assert_eq!(
            Body::new(framing, Some(to_come)).err(),
            refused,
            "{framing:?}"
        );
    }
    // 64 KiB announced in a chunk, and the push ends within: not one byte of the chunk comes out.
    let push = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000 - 1]].concat();
    let mut body = Body::new(Framing::Chunked, Some(push.len() as u64)).unwrap();
    assert_eq!(body.next(&mut push.into()), Err(Truncated));
    let cut = b"3\r\nabc\r\n0\r\n\r";
    let mut body = Body::new(Framing::Chunked, Some(12)).unwrap();
    assert_eq!(body.next(&mut Bytes::from_static(cut)), Err(Truncated));
    let mut body = Body::new(Framing::Chunked, Some(13)).unwrap();
    let piece = body.next(&mut Bytes::from_static(b"3\r\nabc\r\n0\r\n\r\n"));
    assert_eq!(piece, Ok(Some(Bytes::from_static(b"abc"))));
}

#[test]
fn a_push_is_not_longer_than_it_says() {
    let mut body = Body::new(Framing::Chunked, Some(5)).unwrap();
    let said = body.next(&mut Bytes::from_static(b"0\r\nX-T: 1\r\n\r\n"));
    assert_eq!(said, Err(BodyError::Trailing));
}

#[test]
fn the_last_piece_waits_where_more_might_come() {
    let input = || Bytes::from_static(b"abcd");
    let mut known = Body::new(Framing::Length(4), Some(4)).unwrap();
    assert_eq!(known.next(&mut input()), Ok(Some(input())));
    assert_eq!(known.finish(), Ok(None));
    let mut unknown = Body::new(Framing::Length(8), None).unwrap();
    assert_eq!(unknown.next(&mut input()), Ok(Some(input())));
    assert_eq!(unknown.next(&mut input()), Ok(None));
    assert_eq!(unknown.finish(), Ok(Some(input())));
    let mut over = Body::new(Framing::Length(4), None).unwrap();
    assert_eq!(over.next(&mut input()), Ok(None));
    let more = over.next(&mut Bytes::from_static(b"e"));
    assert_eq!(more, Err(BodyError::Trailing));
    // Whoever asks on gets no other answer.
    assert_eq!(over.next(&mut Bytes::new()), Err(BodyError::Trailing));
    assert_eq!(over.finish(), Err(BodyError::Trailing));
}

#[test]
fn pieces_are_not_copied() {
    let push = Bytes::from_static(b"4\r\nabcd\r\n0\r\n\r\n");
    let mut input = push.clone();
    let mut body = Body::new(Framing::Chunked, None).unwrap();
    let piece = body.next(&mut input).unwrap().unwrap();
    assert_eq!(piece.as_ptr(), push[3..].as_ptr());
}

fn framings() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::Empty),
        (0..40_u64).prop_map(Framing::Length),
        Just(Framing::Chunked),
        Just(Framing::ToEnd),
    ]
}

/// What a target might write in chunks, now and then broken.
fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (
        proptest::collection::vec(any::<u8>(), 1..20),
        "(;[a-z=]{0,5})?",
    );
    let chunks = proptest::collection::vec(chunk, 0..5);
    (chunks, "(X-[a-z]: [a-z]{0,5}\r\n){0,2}").prop_map(|(chunks, trailers)| {
        let mut push = Vec::new();
        for (data, extension) in chunks {
            push.extend(format!("{:x}{extension}\r\n", data.len()).into_bytes());
            push.extend(data);
            push.extend(b"\r\n");
        }
        push.extend(format!("0\r\n{trailers}\r\n").into_bytes());
        push
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_the_pieces_do_not_matter(
        framing in framings(),
        push in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            proptest::string::string_regex("([0-9a-f]{1,2}(;x)?\r\n[ -~]{0,9}\r\n){0,4}(0\r\n\r\n)?")
                .unwrap().prop_map(String::into_bytes),
            chunked(),
        ],
        cuts in proptest::collection::vec(0..200_usize, 0..6),
        known: bool,
    ) {
        let to_come = known.then_some(push.len() as u64);
        let whole = decode(framing, to_come, std::iter::once(&push[..]));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (push.len() + 1)).collect();
        cuts.extend([0, push.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &push[ends[0]..ends[1]]);
        prop_assert_eq!(&decode(framing, to_come, pieces), &whole);
        prop_assert_eq!(&decode(framing, to_come, push.chunks(1)), &whole);
    }

    #[test]
    fn a_cut_body_is_never_whole(push in chunked(), cut in 0..10_000_usize, known: bool) {
        let whole = decode_all(Framing::Chunked, &push);
        prop_assert!(whole.is_ok());
        let cut = cut % push.len();
        let to_come = known.then_some(cut as u64);
        let short = decode(Framing::Chunked, to_come, std::iter::once(&push[..cut]));
        prop_assert_eq!(short, Err(BodyError::Truncated));
        let more = [&push[..], b"x"].concat();
        prop_assert_eq!(decode(Framing::Chunked, None, more.chunks(7)), Err(BodyError::Trailing));
    }
}
