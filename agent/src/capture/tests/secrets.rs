//! What a capture must not hold, and what a replay makes of what it holds instead.

use super::*;

/// Whether `needle` is anywhere in the frames of `file`, unpacked.
fn holds(file: &[u8], needle: &[u8]) -> bool {
    let frames = read(file).unwrap().0.concat();
    frames.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn addresses_become_a_hash_of_their_own() {
    let sock = 0xFFFF_8881_2345_6780_u64;
    let tuple = Tuple { sock, family: 4, ..Tuple::default() };
    let mut seed = SeedRecord::new_zeroed();
    seed.header.sensor = Sensor::Tcp as u8;
    seed.tuple = tuple;
    let slot = SweepSlot { tuple, ..SweepSlot::default() };
    let none = SweepSlot::default();
    let frames = [
        Frame::Socket { owner: TaskKey::NONE, record: seed.as_bytes() },
        Frame::Record(seed.as_bytes()),
        Frame::Sweep { now_ns: 1, slots: &[slot, none] },
    ];
    let hashes = |file: &[u8]| {
        let (frames, _) = read(file).unwrap();
        let word = |frame: &[u8], at: usize| u64::from_ne_bytes(frame[at..at + 8].try_into().unwrap());
        let slot_at = 1 + 8 + 4;
        [
            word(&frames[0], 1 + 16 + 4 + 16),
            word(&frames[1], 1 + 4 + 16),
            word(&frames[2], slot_at),
            word(&frames[2], slot_at + size_of::<SweepSlot>()),
        ]
    };
    let (one, other) = (record(&frames), record(&frames));
    let [socket, ring, sweep, absent] = hashes(&one);
    assert!(socket == ring && ring == sweep, "one socket is one number");
    assert_eq!(absent, 0, "no socket stays none");
    assert_ne!(hashes(&other)[0], socket, "another capture has another key");
    assert!(!holds(&one, &sock.to_ne_bytes()) && socket != sock);
}

#[test]
fn arguments_are_masked_in_place() {
    let text = b"curl\0-u\0me:hunter2\0--token=abcdef\0https://a:b@host/\0--password\0s3cret\0plain\0";
    let masked = {
        let mut expected = text.to_vec();
        for secret in ["hunter2", "abcdef", "s3cret"] {
            let at = expected.windows(secret.len()).position(|window| window == secret.as_bytes()).unwrap();
            expected[at..at + secret.len()].fill(HIDDEN);
        }
        let at = expected.windows(4).position(|window| window == b"a:b@").unwrap() + 2;
        expected[at] = HIDDEN;
        expected
    };
    let exec = exec_record(0, 42, text, text.len());
    let file = record(&[Frame::Record(&exec), Frame::Arguments { task: task(42), bytes: text }]);
    let frames = read(&file).unwrap().0;
    assert!(frames[0].ends_with(&masked), "{:?}", String::from_utf8_lossy(&frames[0]));
    assert!(frames[1].ends_with(&masked));
}

#[test]
fn a_secret_across_records_is_hidden_whole() {
    // The flag ends the first part; its value begins the second and ends in the third.
    let first = [&b"tool\0"[..], &[b'x'; 4000], b"\0--db-password\0"].concat();
    let second = b"correct-horse-".to_vec();
    let third = b"battery\0rest\0".to_vec();
    let total = first.len() + second.len() + third.len();
    let exec = exec_record(0, 7, &first, total);
    let parts =
        [args_record(1, 7, first.len(), &second), args_record(2, 7, first.len() + second.len(), &third)];
    let end = Frame::Begin(time(99_000_000_000));
    // In one block; then with a block's end (a second and more later) before each part.
    for sealed in [false, true] {
        let mut frames = vec![Frame::Record(&exec)];
        for (index, part) in parts.iter().enumerate() {
            if sealed {
                let at = time(60_000_000_000 * (index as u64 + 1));
                frames.extend([Frame::Begin(at), Frame::End]);
            }
            frames.push(Frame::Record(part));
        }
        frames.push(end.clone());
        let file = record(&frames);
        for secret in [&b"correct"[..], b"horse", b"battery"] {
            assert!(!holds(&file, secret), "sealed {sealed}: {}", String::from_utf8_lossy(secret));
        }
        assert!(holds(&file, b"rest\0"), "sealed {sealed}");
    }
}

#[test]
fn a_part_without_its_beginning_is_hidden() {
    let part = args_record(3, 9, 4096, b"tail-of-a-secret\0next\0");
    let file = record(&[Frame::Record(&part)]);
    assert!(!holds(&file, b"secret") && !holds(&file, b"next"));
    assert!(holds(&file, &[HIDDEN, 0, HIDDEN]), "boundaries stay");
}

#[test]
fn a_replay_prints_what_was_printed_live() {
    let text = b"curl\0-u\0me:hunter2\0--token=abcdef\0https://a:b@host/x\0";
    let exec = exec_record(0, 42, text, text.len());
    let frames = [
        Frame::Begin(time(6_000_000_000)),
        Frame::Record(&exec),
        Frame::End,
        Frame::Finish(time(7_000_000_000)),
    ];
    let live = lines(|offline| frames.iter().for_each(|frame| offline.feed(frame)));
    let file = record(&frames);
    let again = lines(|offline| offline.feed_all(&mut Reader::new(file.as_slice()).unwrap()).unwrap());
    assert!(live.contains("[REDACTED]") && live.contains("/usr/bin/tool"), "{live}");
    assert_eq!(live, again);
    let cut = &file[..file.len() - 30];
    let cut = lines(|offline| offline.feed_all(&mut Reader::new(cut).unwrap()).unwrap());
    assert_eq!(live, cut, "the end block holds no event");
}
