//! Child processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tarsier::config::units::Duration as Setting;
use tarsier::export::DropCause;
use tarsier::export::alerts::{AlertsConfig, ProgramOutput};

use crate::{PATIENCE, config, counts, messages, narrow, overflow, sent, start, tell, until};

fn to(program: String, keep_alive: bool) -> AlertsConfig {
    let program_output = ProgramOutput { enabled: true, program, keep_alive, json_output: None };
    AlertsConfig { program_output, ..config() }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn one_program_takes_all_lines_and_is_waited_for_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let program = format!("cat > {0}; echo end >> {0}", path.display());
    let channels = start(&to(program, true));
    for number in 0..100 {
        tell(&channels, &number.to_string());
    }
    channels.shutdown(PATIENCE).await;
    let text = read(&path);
    let mut expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    expected.push("end".into());
    assert_eq!(messages(&text), expected);
    assert_eq!(counts(&channels).sent, 100);
}

#[tokio::test]
async fn a_program_for_each_alert() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let channels = start(&to(format!("cat >> {0}; echo end >> {0}", path.display()), false));
    tell(&channels, "one");
    tell(&channels, "two");
    sent(&channels, 2).await;
    assert_eq!(messages(&read(&path)), ["one", "end", "two", "end"]);
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_for_the_next_alert() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let channels = start(&to(format!("head -n 1 >> {0}; echo end >> {0}", path.display()), true));
    for (number, message) in ["one", "two"].into_iter().enumerate() {
        tell(&channels, message);
        until("the program ended", || read(&path).matches("end\n").count() == number + 1).await;
    }
    assert_eq!(messages(&read(&path)), ["one", "end", "two", "end"]);
}

#[tokio::test]
async fn a_program_that_is_kept_is_started_anew_when_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let channels = start(&to(format!("cat >> {0}; echo end >> {0}", path.display()), true));
    tell(&channels, "one");
    sent(&channels, 1).await;
    channels.reopen();
    tell(&channels, "two");
    until("the first has ended", || read(&path).contains("end\n")).await;
    channels.shutdown(PATIENCE).await;
    let text = read(&path);
    let mut found = messages(&text);
    found.sort_unstable();
    assert_eq!(found, ["end", "end", "one", "two"]);
}

#[tokio::test]
async fn a_program_that_fails_has_had_its_alert() {
    let channels = start(&to("cat > /dev/null; exit 3".into(), false));
    tell(&channels, "one");
    until("rejected", || counts(&channels).rejected == 1).await;
    let nothing = start(&to("exit 0".into(), false));
    tell(&nothing, &"x".repeat(1 << 20));
    sent(&nothing, 1).await;
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    for keep_alive in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pids");
        let program = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", path.display());
        let mut config = to(program, keep_alive);
        config.output_timeout = Setting::from_millis(300);
        config.retry_for = Setting::from_millis(1);
        let channels = start(&config);
        // More than a pipe holds: it is not taken before it is read.
        tell(&channels, &"x".repeat(1 << 20));
        until("given up", || counts(&channels).dropped(DropCause::RetryExhausted) == 1).await;
        let pid: i32 = read(&path).trim().parse().unwrap();
        let process = Path::new("/proc").join(pid.to_string()).join("stat");
        // It ends as our child's child: whoever adopts it waits for it, or it stays as a zombie.
        until("killed", || read(&process).split(' ').nth(2).is_none_or(|state| state == "Z")).await;
    }
}

#[tokio::test]
async fn a_program_that_reads_nothing_holds_up_nobody() {
    overflow(&start(&narrow(to("sleep 1000".into(), true)))).await;
}

#[tokio::test]
async fn the_shutdown_does_not_wait_for_a_program_that_does_not_end() {
    let channels = start(&to("cat > /dev/null; sleep 1000".into(), true));
    tell(&channels, "one");
    sent(&channels, 1).await;
    let begun = std::time::Instant::now();
    channels.shutdown(Duration::from_millis(200)).await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(counts(&channels).sent, 1);
}
