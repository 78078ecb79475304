//! Frames of sample states, through the terminal that `top` uses.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::ops::admin::{Loss, Process, Rates, SensorState};

fn sample() -> TopState {
    let connection = |process: &str, bytes_per_s, sent, rtt_us| Connection {
        role: "client".into(),
        local: "10.0.0.1:40000".into(),
        peer: "10.0.0.2:443".into(),
        process: process.into(),
        pid: 7,
        workload: "web".into(),
        sent,
        received: 10,
        bytes_per_s,
        rtt_us,
        retransmits: 0,
        age_ms: 61_000,
        state: "established".into(),
    };
    TopState {
        node: "n1".into(),
        version: "0.1.0".into(),
        uptime_s: 3_725,
        rates: Rates { records: 120.4, cpu: 0.0042, resident_bytes: 31_500_000, ..Rates::default() },
        connections: vec![connection("slow", 10.0, 9_000_000, 20), connection("fast", 5_000.0, 1_000, 1_500)],
        processes: vec![Process {
            pid: 4242,
            command: "sh -c true".into(),
            exit: Some(3),
            ..Process::default()
        }],
        losses: vec![Loss { place: "tcp".into(), cause: "ring_full".into(), count: 17 }],
        sensors: vec![
            SensorState { name: "exec".into(), on: true, reason: String::new() },
            SensorState { name: "tcp".into(), on: false, reason: "no tcp_sock.srtt_us".into() },
        ],
    }
}

fn frame(state: &TopState, sort: Sort, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let view = View { state, sort, is_coloured: true };
    terminal.draw(|frame| frame.render_widget(view, frame.area())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let rows = (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>());
    rows.map(|row| row.trim_end().to_owned()).collect()
}

fn line_of(lines: &[String], text: &str) -> usize {
    lines
        .iter()
        .position(|line| line.contains(text))
        .unwrap_or_else(|| panic!("no {text}:\n{}", lines.join("\n")))
}

#[test]
fn everything_is_on_the_screen() {
    let lines = frame(&sample(), Sort::Rate, 140, 30);
    assert_eq!(lines[0], "tarsier 0.1.0 on n1, up 1h02m");
    assert!(
        lines[1].contains("120 records/s") && lines[1].contains("cpu 0.42 %  memory 31.5 MB"),
        "{}",
        lines[1]
    );
    let fast = &lines[line_of(&lines, "fast 7")];
    assert!(fast.contains("10.0.0.1:40000 -> 10.0.0.2:443") && fast.contains("5.0 kB/s"), "{fast}");
    assert!(fast.contains("1.5 ms") && fast.contains("1m01s"), "{fast}");
    assert!(lines[line_of(&lines, "4242")].contains("exit 3"));
    line_of(&lines, "sensors on: exec");
    line_of(&lines, "sensor tcp is off: no tcp_sock.srtt_us");
    line_of(&lines, "17 tcp ring_full");
    assert!(lines.last().unwrap().contains("q quit"));
}

#[test]
fn the_sort_key_decides_the_order() {
    let order = |sort| {
        let lines = frame(&sample(), sort, 140, 30);
        line_of(&lines, "fast 7") < line_of(&lines, "slow 7")
    };
    assert!(order(Sort::Rate) && order(Sort::Rtt));
    assert!(!order(Sort::Bytes));
    let mut sort = Sort::Rate;
    for _ in 0..Sort::value_variants().len() {
        sort = sort.next();
    }
    assert_eq!(sort, Sort::Rate, "the keys go round");
}

#[test]
fn small_terminals_and_empty_states_do_not_panic() {
    for (width, height) in [(1, 1), (10, 3), (20, 200), (500, 5), (80, 24)] {
        frame(&sample(), Sort::Age, width, height);
        frame(&TopState::default(), Sort::Age, width, height);
    }
    line_of(&frame(&TopState::default(), Sort::Age, 80, 24), "nothing lost");
}

#[test]
fn what_a_process_is_called_cannot_drive_the_terminal() {
    let mut state = sample();
    state.processes[0].command = "sh \x1b[2J\x07\u{9b}2J\r\nevil".into();
    state.connections[0].process = "\x1b]0;title\x07".into();
    let view = View { state: &state, sort: Sort::Rate, is_coloured: false };
    let text = view.plain(140, 30);
    assert!(text.contains("evil"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn plain_frames_are_the_same_text() {
    let state = sample();
    let view = View { state: &state, sort: Sort::Rate, is_coloured: false };
    assert_eq!(view.plain(140, 30).lines().collect::<Vec<_>>(), frame(&state, Sort::Rate, 140, 30));
}

#[test]
fn numbers_for_people() {
    for (count, text) in
        [(0.0, "0 B"), (999.0, "999 B"), (1000.0, "1.0 kB"), (999_999.0, "1.0 MB"), (2.5e18, "2500.0 PB")]
    {
        assert_eq!(bytes(count), text);
    }
    for (millis, text) in [(5, "5ms"), (59_999, "59s"), (60_000, "1m00s"), (90_000_000, "1d01h")] {
        assert_eq!(age(millis), text);
    }
    assert_eq!((rtt(0).trim(), rtt(999).trim(), rtt(1_000).trim()), ("-", "999 us", "1.0 ms"));
}
