//! The file: frames go in and come out; cut and damaged files.

use super::*;

/// Frames whose payloads the scrubber leaves alone.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let plain = |(mut record, sensor): (Vec<u8>, u8)| {
        // Any sensor but those with something to hide.
        record
            .insert(0, if sensor == Sensor::Exec as u8 || sensor == Sensor::Tcp as u8 { 0 } else { sensor });
        record
    };
    prop_oneof![
        (any::<u64>(), any::<u64>(), bytes()).prop_map(|(id, parent, path)| bytes_of(&Frame::Cgroup {
            id,
            parent,
            path: &path
        })),
        (bytes(), any::<u8>()).prop_map(plain).prop_map(|record| bytes_of(&Frame::Record(&record))),
        (bytes(), any::<u8>()).prop_map(plain).prop_map(|record| bytes_of(&Frame::Process(&record))),
        (any::<u64>(), any::<u64>()).prop_map(|(boot_ns, unix_offset_ns)| {
            bytes_of(&Frame::Begin(Time { boot_ns, unix_offset_ns }))
        }),
        Just(bytes_of(&Frame::End)),
        any::<u64>().prop_map(|now_ns| bytes_of(&Frame::Sweep { now_ns, slots: &[] })),
        (bytes(), bytes()).prop_map(|(id, facts)| bytes_of(&Frame::Container { id: &id, facts: &facts })),
        (bytes(), bytes(), bytes()).prop_map(|(id, passwd, group)| bytes_of(&Frame::Accounts {
            id: &id,
            passwd: &passwd,
            group: &group
        })),
        bytes().prop_map(|id| bytes_of(&Frame::NoAccounts { id: &id })),
        any::<u64>().prop_map(|now_ns| bytes_of(&Frame::Shed { now_ns })),
        any::<u64>().prop_map(|boot_ns| bytes_of(&Frame::Finish(time(boot_ns)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(frames in proptest::collection::vec(any_frame(), 0..60)) {
        let mut slots = Vec::new();
        let mut recorder = Recorder::begin(Vec::new(), &about(), Some(redactor()), None).unwrap();
        for bytes in &frames {
            let (frame, rest) = Frame::read_from(bytes, &mut slots).unwrap();
            prop_assert!(rest.is_empty());
            recorder.frame(&frame).unwrap();
        }
        let (file, totals) = recorder.finish(7).unwrap();
        let (read, ending) = read(&file).unwrap();
        prop_assert_eq!(&read, &frames);
        prop_assert_eq!(ending, Ending::Whole(totals));
        prop_assert_eq!((totals.frames, totals.lost), (frames.len() as u64, 7));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut slots = Vec::new();
        // Neither panics, and what is a frame takes no more than there is.
        if let Ok((_, rest)) = Frame::read_from(&bytes, &mut slots) {
            prop_assert!(rest.len() < bytes.len());
        }
        let _ = read(&bytes);
        let _ = read(&[&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat());
    }
}

#[test]
fn of_another_version_a_capture_says_which_one_reads_it() {
    let refused = |format: u32, about: About| {
        let (mut file, _) = Recorder::begin(Vec::new(), &about, None, None).unwrap().finish(0).unwrap();
        file[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&format.to_le_bytes());
        Reader::new(file.as_slice()).err().map(|error| error.to_string())
    };
    assert_eq!(refused(VERSION, about()), None);
    assert_eq!(refused(OLDEST_VERSION, about()), None);
    let with = |change: fn(&mut About)| {
        let mut about = about();
        change(&mut about);
        about
    };
    let later = "use the version that made it, or a later one";
    for (format, about, expected) in [
        (
            VERSION + 1,
            about(),
            "this version reads 1 to 2: use the version of tarsier that made it, or a later one",
        ),
        (OLDEST_VERSION - 1, about(), "this version reads 1 to 2: use the version of tarsier that made it"),
        (VERSION, with(|about| about.abi += 1), "use the version that made it"),
        (VERSION, with(|about| about.calls = tarsier_abi::syscall::CALLS + 1), later),
        (
            VERSION,
            with(|about| about.sensors = vec![SensorAtStart { name: "later".into(), off: String::new() }]),
            later,
        ),
        (VERSION, with(|about| about.call_parts = tarsier_abi::syscall::PartKind::LAST + 1), later),
    ] {
        let said = refused(format, about).unwrap();
        assert!(said.ends_with(expected), "{said}");
    }
}

/// A file of three blocks of frames, and where they end.
fn three_blocks() -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut frames = Vec::new();
    for second in 0..3_u64 {
        frames.push(Frame::Begin(time(6_000_000_000 + second * 2_000_000_000)));
        frames.push(Frame::Cgroup { id: second, parent: 1, path: b"/some/where" });
        frames.push(Frame::End);
    }
    let file = record(&frames);
    (file, frames.iter().map(bytes_of).collect())
}

#[test]
fn a_cut_file_is_its_whole_blocks() {
    let (file, all) = three_blocks();
    let mut seen = std::collections::BTreeSet::new();
    for len in 0..file.len() {
        match read(&file[..len]) {
            Ok((frames, ending)) => {
                assert_eq!(ending, Ending::Cut, "cut at {len}");
                assert_eq!(frames, all[..frames.len()], "cut at {len}");
                seen.insert(frames.len());
            }
            Err(error) => assert!(
                matches!(error, ReadError::NotACapture | ReadError::NoAbout) && seen.is_empty(),
                "cut at {len}: {error}"
            ),
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 3, 6, 9]);
    assert!(matches!(read(&file).unwrap().1, Ending::Whole(Totals { blocks: 3, frames: 9, .. })));
}

#[test]
fn a_damaged_byte_is_noticed() {
    let (file, all) = three_blocks();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        match read(&damaged) {
            // A length that grew beyond the end looks like a cut.
            Ok((frames, Ending::Cut)) => assert_eq!(frames, all[..frames.len()], "byte {at}"),
            Ok((_, Ending::Whole(_))) => panic!("byte {at} went unnoticed"),
            Err(_) => {}
        }
    }
}

#[test]
fn blocks_that_changed_places_are_noticed() {
    let (file, _) = three_blocks();
    let mut starts = Vec::new();
    let mut at = MAGIC.len() + 4;
    while at < file.len() {
        starts.push(at);
        let stored = u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap());
        at += block::HEADER + stored as usize;
    }
    let without_second = [&file[..starts[2]], &file[starts[3]..]].concat();
    let error = read(&without_second).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { block: 2, damage: block::Damage::Number }), "{error}");
}

#[test]
fn the_size_limit_holds() {
    for limit in [4_096_u64, 10_000, 65_536] {
        let mut recorder = Recorder::begin(Vec::new(), &about(), None, Some(limit)).unwrap();
        let mut noise = fastrand::Rng::with_seed(limit);
        let mut taken = 0;
        for cycle in 0..10_000_u64 {
            let path: Vec<u8> = std::iter::repeat_with(|| noise.u8(..)).take(500).collect();
            let frames = [
                Frame::Begin(time(6_000_000_000 + cycle * 1_000_000_000)),
                Frame::Cgroup { id: cycle, parent: 1, path: &path },
                Frame::End,
            ];
            if frames.iter().any(|frame| recorder.frame(frame).unwrap() == Cut::SizeLimit) {
                break;
            }
            taken += 3;
        }
        let (file, totals) = recorder.finish(0).unwrap();
        assert!(file.len() as u64 <= limit && file.len() as u64 > limit / 4, "{} of {limit}", file.len());
        assert_eq!(read(&file).unwrap().0.len(), taken, "limit {limit}");
        assert!(totals.size_limit);
    }
}

#[test]
fn files_of_other_versions_say_so() {
    let mut newer = record(&[]);
    newer[8] = 99;
    assert!(read(&newer).unwrap_err().to_string().contains("format 99"));
    let other = About { abi: 77, tarsier: "9.9".into(), ..about() };
    let (other, _) = Recorder::begin(Vec::new(), &other, None, None).unwrap().finish(0).unwrap();
    let text = read(&other).unwrap_err().to_string();
    assert!(text.contains("version 77") && text.contains("tarsier 9.9"), "{text}");
    assert!(read(b"not one").unwrap_err().to_string().contains("tarsier record"));
}
