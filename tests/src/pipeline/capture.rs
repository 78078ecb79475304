//! Captures of the real thing: a replay says what was said live, byte for byte, whoever runs it; and a
//! recorder that is killed, or whose disk is full, leaves a capture all the same.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{SCENE, SCENE_HERE};
use crate::harness::cgroup;
use crate::harness::exit;
use crate::harness::receiver::Receiver;
use crate::harness::recorder::{self, Studio, bytes, replay};
use crate::harness::scene::{ARRIVAL, WORKLOAD};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "capture/replay_equals_live", needs: SCENE, run: replay_equals_live },
    Test { name: "capture/two_replays_send_the_same", needs: SCENE_HERE, run: two_replays_send_the_same },
    Test { name: "capture/sigkill_keeps_whole_blocks", needs: SCENE_HERE, run: sigkill_keeps_whole_blocks },
    Test {
        name: "capture/full_disk_keeps_whole_blocks",
        needs: SCENE_HERE,
        run: full_disk_keeps_whole_blocks,
    },
    Test { name: "capture/read_only_disk_is_one_line", needs: SCENE_HERE, run: read_only_disk_is_one_line },
    Test { name: "capture/size_limit_ends_it_well", needs: SCENE_HERE, run: size_limit_ends_it_well },
];

/// A process with a secret among its arguments, and with more arguments than one record holds.
pub(super) fn telling_process(studio: &Studio, itest: &Path) -> anyhow::Result<()> {
    let long = "x".repeat(9_000);
    for arguments in [&["--password", "hunter2"][..], &[&long, "--token=hunter2", "end"]] {
        let mut command = Command::new(itest);
        command.args(["child", "--exit", "0"]).args(arguments);
        cgroup::enter(&mut command, studio.cgroup.path())?;
        let mut child = command.spawn()?;
        ensure!(exit::wait(&mut child, WORKLOAD)?.success(), "a child of the test failed");
    }
    Ok(())
}

fn replay_equals_live(context: &Context) -> anyhow::Result<()> {
    let studio = Studio::new("rec")?;
    // One that is there before the recorder: it must be in the capture's beginning.
    let held = scene_holder(&studio, &context.itest)?;
    let recorder = studio.record(context, &[])?;
    studio.workload(context, &["processes", "--count", "100", "--marker", "m"])?;
    studio.workload(context, &["connections", "--count", "100"])?;
    studio.workload(context, &["matrix"])?;
    telling_process(&studio, &context.itest)?;
    drop(held);
    let (capture, lines) = (recorder.capture.clone(), recorder.lines.clone());
    let ended = recorder.terminate()?;
    ensure!(ended.status.success(), "the recorder ended with {}", ended.status);

    let live = bytes(&lines)?;
    let count = live.split(|byte| *byte == b'\n').count();
    ensure!(count > 500, "only {count} lines were printed live");
    let again = replay(context, &capture, &["--output", "json"])?;
    ensure!(again.status.success(), "replay: {}", String::from_utf8_lossy(&again.stderr));
    if let Some(line) = first_difference(&live, &again.stdout) {
        bail!("the replay differs: {line}");
    }
    let text = String::from_utf8_lossy(&live);
    ensure!(text.contains("[REDACTED]") && !text.contains("hunter2"), "redaction in the lines");
    ensure!(!contains_unpacked(context, &capture, "hunter2")?, "a secret is in the capture");
    let info = replay(context, &capture, &["--info"])?;
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    ensure!(info.contains("nothing was lost") && info.contains("overwritten"), "--info says:\n{info}");
    Ok(())
}

/// A workload that lives in the scope, with a connection, before anything is recorded.
pub(super) fn scene_holder(studio: &Studio, itest: &Path) -> anyhow::Result<crate::harness::scene::Dialogue> {
    let command = crate::harness::scene::itest(itest, studio.cgroup.path(), &["workload", "hold"])?;
    let mut held = crate::harness::scene::Dialogue::start(command)?;
    held.hear()?;
    held.say("send 1000")?;
    Ok(held)
}

/// Whether the text is in what the capture holds: its frames are compressed, so the agent unpacks them
/// with redaction off.
fn contains_unpacked(context: &Context, capture: &Path, text: &str) -> anyhow::Result<bool> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("plain.yaml");
    fs::write(&config, "redaction: {enabled: false}\n")?;
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let config = config.to_str().context("a path of the test is text")?;
    let output = replay(context, capture, &["--output", "json", "--config", config])?;
    ensure!(output.status.success(), "replay: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).contains(text))
}

/// The first line in which two outputs differ.
pub(super) fn first_difference(left: &[u8], right: &[u8]) -> Option<String> {
    if left == right {
        return None;
    }
    let mut lines = left.split(|byte| *byte == b'\n').zip(right.split(|byte| *byte == b'\n')).enumerate();
    let (number, (left, right)) = lines.find(|(_, (left, right))| left != right)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some(format!("line {number}:\n live   {}\n replay {}", text(left), text(right)))
}

fn two_replays_send_the_same(context: &Context) -> anyhow::Result<()> {
    let studio = Studio::new("rec")?;
    let recorder = studio.record(context, &[])?;
    studio.workload(context, &["processes", "--count", "50", "--marker", "m"])?;
    studio.workload(context, &["connections", "--count", "50"])?;
    let capture = recorder.capture.clone();
    recorder.terminate()?;
    let mut sent = Vec::new();
    for _ in 0..2 {
        let receiver = Receiver::start()?;
        let output =
            replay(context, &capture, &["--output", "none", "--otlp-endpoint", &receiver.endpoint()])?;
        ensure!(output.status.success(), "replay: {}", String::from_utf8_lossy(&output.stderr));
        sent.push(receiver.look(|seen| {
            let lines = seen.logs.iter().map(|log| format!("{log:?}"));
            lines.chain(seen.spans.iter().map(|span| format!("{span:?}"))).collect::<Vec<_>>()
        }));
    }
    ensure!(sent[0].len() >= 3 * 50 + 2 * 50, "only {} items were sent", sent[0].len());
    ensure!(sent[0] == sent[1], "two replays of one capture differ");
    Ok(())
}

fn sigkill_keeps_whole_blocks(context: &Context) -> anyhow::Result<()> {
    let studio = Studio::new("rec")?;
    let mut recorder = studio.record(context, &[])?;
    let start = fs::metadata(&recorder.capture)?.len();
    // Until it has written at least one block, which it does every second.
    let end = Instant::now() + ARRIVAL;
    while fs::metadata(&recorder.capture)?.len() == start {
        studio.workload(context, &["processes", "--count", "20", "--marker", "m"])?;
        ensure!(Instant::now() < end, "no block was written in {ARRIVAL:?}");
    }
    recorder.kill()?;
    let again = replay(context, &recorder.capture, &["--output", "json"])?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    ensure!(again.status.success() && said.contains("ends early"), "replay: {said}");
    let live = bytes(&recorder.lines)?;
    ensure!(!again.stdout.is_empty(), "the replay says nothing");
    let common = again.stdout.len().min(live.len());
    ensure!(live[..common] == again.stdout[..common], "the replay is no beginning of what was said live");
    Ok(())
}

/// Gives the recorder work until it has no room for more; its exit code.
fn work_until_it_ends(
    context: &Context,
    studio: &Studio,
    recorder: &mut recorder::Recorder,
) -> anyhow::Result<i32> {
    for _ in 0..100 {
        studio.workload(context, &["processes", "--count", "1", "--marker", &noise()?])?;
        if let Some(code) = recorder.try_exit_code()? {
            return Ok(code);
        }
    }
    bail!("it took a hundred rounds and had room for more")
}

/// A file system of a given size, unmounted on drop.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn new(path: &'a Path, options: &std::ffi::CStr, flags: MountFlags) -> anyhow::Result<Self> {
        mount(c"tmpfs", path, c"tmpfs", flags, Some(options)).context("mounting a small disk")?;
        Ok(Self(path))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // A test that failed with a file still open leaves it detached, to go with the file.
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

fn full_disk_keeps_whole_blocks(context: &Context) -> anyhow::Result<()> {
    let studio = Studio::new("rec")?;
    let mounted = tempfile::tempdir()?;
    let _disk = Disk::new(mounted.path(), c"size=96k", MountFlags::empty())?;
    let capture = mounted.path().join("full.tarsier");
    // Its lines go elsewhere: it is the capture's disk that is full.
    let mut recorder =
        recorder::Recorder::start_at(context, studio.cgroup.path(), &capture, studio.directory.path())?;
    let code = work_until_it_ends(context, &studio, &mut recorder)?;
    ensure!(code == 1, "the recorder ended with {code}");
    let said = context.log.tail(20).join("\n");
    ensure!(said.contains("No space left") && said.contains("can be replayed"), "it said:\n{said}");
    let again = replay(context, &capture, &["--output", "json"])?;
    ensure!(again.status.success(), "replay: {}", String::from_utf8_lossy(&again.stderr));
    ensure!(!again.stdout.is_empty(), "the replay says nothing");
    Ok(())
}

fn read_only_disk_is_one_line(context: &Context) -> anyhow::Result<()> {
    let studio = Studio::new("rec")?;
    let mounted = tempfile::tempdir()?;
    let _disk = Disk::new(mounted.path(), c"size=64k", MountFlags::RDONLY)?;
    let capture = mounted.path().join("no.tarsier");
    let output = recorder::command(context, studio.cgroup.path(), &capture).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
    ensure!(said.contains("Read-only file system") && said.trim().lines().count() == 1, "it said:\n{said}");
    Ok(())
}

/// An argument that does not get smaller, so that a few processes fill a disk, in an emulated guest too.
fn noise() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 1_500];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn size_limit_ends_it_well(context: &Context) -> anyhow::Result<()> {
    const LIMIT: u64 = 96 * 1024;
    let studio = Studio::new("rec")?;
    let mut recorder = studio.record(context, &["--max-size", "96KiB"])?;
    let code = work_until_it_ends(context, &studio, &mut recorder)?;
    ensure!(code == 0, "the recorder ended with {code}");
    let size = fs::metadata(&recorder.capture)?.len();
    ensure!(size <= LIMIT && size > LIMIT / 8, "the capture has {size} bytes");
    let info = replay(context, &recorder.capture, &["--info"])?;
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    ensure!(info.contains("ended by --max-size"), "--info says:\n{info}");
    Ok(())
}
