//! Exec: the program, its arguments byte by byte, where and as whom it runs.

use std::ffi::{CString, OsString};
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use rustix::mount::{MountFlags, UnmountFlags};

use super::{SCENE, child, event_of};
use crate::harness::names;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::Item;
use crate::runner::{Context, Skip, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "exec/arguments_arrive_as_given", needs: SCENE, run: arguments_arrive_as_given },
    Test { name: "exec/long_arguments_arrive_whole", needs: SCENE, run: long_arguments_arrive_whole },
    Test {
        name: "exec/arguments_beyond_the_bound_are_flagged",
        needs: SCENE,
        run: arguments_beyond_the_bound,
    },
    Test { name: "exec/symlink_resolves_to_the_file", needs: SCENE, run: symlink_resolves },
    Test { name: "exec/path_is_as_seen_from_the_root_of_the_task", needs: SCENE, run: chroot_path },
    Test { name: "exec/memfd_is_flagged", needs: SCENE, run: memfd_is_flagged },
    Test { name: "exec/unlinked_file_is_flagged", needs: SCENE, run: unlinked_is_flagged },
    Test { name: "exec/drift_from_the_image_is_flagged", needs: SCENE, run: drift_is_flagged },
    Test { name: "exec/directory_and_ids_are_those_of_the_task", needs: SCENE, run: directory_and_ids },
    Test { name: "exec/by_a_thread_keeps_the_pid", needs: SCENE, run: by_a_thread },
    Test { name: "exec/outside_of_the_scope_is_not_told", needs: SCENE, run: outside_of_the_scope },
];

/// Runs `command` in the scope; its exec event.
fn exec(scene: &Scene, command: Command) -> anyhow::Result<Item<LogRecord>> {
    let (pid, status) = scene.run(command)?;
    ensure!(status.code() == Some(0), "the process of the test failed: {status}");
    event_of(scene, names::EXEC, pid)
}

/// A copy of the test binary, to be moved, hidden and deleted.
fn copy(context: &Context, to: &Path) -> anyhow::Result<()> {
    fs::copy(&context.itest, to)
        .with_context(|| format!("cannot copy the test binary to {}", to.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

/// `itest child --exit 0` with `arguments` arrives with exactly these.
fn same_arguments(context: &Context, scene: &Scene, arguments: &[OsString]) -> anyhow::Result<()> {
    let mut command = child(context, &["--exit", "0"]);
    command.args(arguments);
    let log = exec(scene, command)?;
    let expected: Vec<_> = [context.itest.as_os_str(), "child".as_ref(), "--exit".as_ref(), "0".as_ref()]
        .into_iter()
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(|argument| String::from_utf8_lossy(argument.as_bytes()))
        .collect();
    let found = log.attributes().texts(names::ARGS).context("no array of arguments")?;
    ensure!(found == expected, "arguments are {found:?}, not {expected:?}");
    ensure!(log.attributes().flag(names::ARGS_TRUNCATED).is_none(), "flagged as truncated");
    Ok(())
}

fn arguments_arrive_as_given(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let bad = OsString::from_vec(b"not \xFF UTF-8 \xC3".to_vec());
    let given = [OsString::new(), "two\nlines\n".into(), bad, "größe\t\"x\" $(y)".into(), " ".into()];
    same_arguments(context, &scene, &given)?;
    // An empty last argument is the one that joining and splitting at NULs loses.
    same_arguments(context, &scene, &["a".into(), OsString::new(), OsString::new()])?;
    let parent =
        scene.receiver.look(|seen| seen.logs.iter().find_map(|log| log.attributes().int(names::PARENT_PID)));
    ensure!(parent == Some(i64::from(std::process::id())), "the parent is {parent:?}");
    Ok(())
}

fn long_arguments_arrive_whole(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    // One longer than the inline part, then many across several side records.
    same_arguments(context, &scene, &["x".repeat(6 * 1024 + 1).into()])?;
    let many: Vec<OsString> = (0..250).map(|index| format!("{index:-<100}").into()).collect();
    same_arguments(context, &scene, &many)
}

fn arguments_beyond_the_bound(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let given: Vec<String> = (0..700).map(|index| format!("{index:-<99}")).collect();
    let mut command = child(context, &["--exit", "0"]);
    command.args(&given);
    let log = exec(&scene, command)?;
    ensure!(log.attributes().flag(names::ARGS_TRUNCATED) == Some(true), "not flagged as truncated");
    let head = context.itest.as_os_str().len() + 1 + "child --exit 0 ".len();
    let all = i64::try_from(head + given.len() * 100)?;
    let told = log.attributes().int(names::ARGS_BYTES);
    ensure!(told == Some(all), "{told:?} bytes of arguments are told, not {all}");
    let found = log.attributes().texts(names::ARGS).context("no array of arguments")?;
    let carried: usize = found.iter().map(|argument| argument.len() + 1).sum();
    ensure!((31 * 1024..=32 * 1024 + 1).contains(&carried), "{carried} bytes of arguments are carried");
    let whole = found.iter().skip(4).take(found.len().saturating_sub(5));
    ensure!(whole.zip(&given).all(|(found, given)| found == given), "what is carried is not what was given");
    Ok(())
}

fn symlink_resolves(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let folder = tempfile::tempdir()?;
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&context.itest, &link)?;
    let mut command = Command::new(&link);
    command.args(["child", "--exit", "0"]);
    let log = exec(&scene, command)?;
    let real = fs::canonicalize(&context.itest)?;
    let path = log.attributes().text(names::EXE_PATH);
    ensure!(path == real.to_str(), "the executable is {path:?}, not {}", real.display());
    let first = log.attributes().texts(names::ARGS).and_then(|arguments| arguments.first().copied());
    ensure!(first == link.to_str(), "the first argument is {first:?}");
    Ok(())
}

fn chroot_path(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let root = tempfile::tempdir()?;
    fs::create_dir(root.path().join("deep"))?;
    copy(context, &root.path().join("deep/inside"))?;
    let mut command = Command::new("/deep/inside");
    command.args(["child", "--exit", "0"]);
    let path = root.path().to_owned();
    let change = move || Ok(rustix::process::chroot(&path).and_then(|()| rustix::process::chdir("/deep"))?);
    // SAFETY: between fork and exec the closure makes two system calls; a path this short is not
    // copied to the heap for them.
    unsafe { command.pre_exec(change) };
    let log = match exec(&scene, command) {
        Err(error) if is_not_found(&error) => {
            return Err(
                Skip("the test binary is not static: it cannot run in an empty root".to_owned()).into()
            );
        }
        other => other?,
    };
    let path = log.attributes().text(names::EXE_PATH);
    ensure!(path == Some("/deep/inside"), "the executable is {path:?}");
    let directory = log.attributes().text(names::CWD);
    ensure!(directory == Some("/deep"), "the working directory is {directory:?}");
    Ok(())
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let kind = error.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::NotFound)
}

/// Runs what `file` holds through its descriptor: it needs no name for that.
fn exec_descriptor(scene: &Scene, file: &fs::File) -> anyhow::Result<Item<LogRecord>> {
    let mut command =
        Command::new(PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())));
    command.args(["child", "--exit", "0"]);
    exec(scene, command)
}

fn memfd_is_flagged(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let mut file: fs::File = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::CLOEXEC)?.into();
    std::io::copy(&mut fs::File::open(&context.itest)?, &mut file)?;
    // A file that is open for writing cannot be run: keep a read-only descriptor of it.
    let readable = fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    drop(file);
    let log = exec_descriptor(&scene, &readable)?;
    ensure!(log.attributes().flag(names::EXE_MEMFD) == Some(true), "not flagged: {:?}", log.item.attributes);
    Ok(())
}

fn unlinked_is_flagged(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("gone");
    copy(context, &path)?;
    let file = fs::File::open(&path)?;
    fs::remove_file(&path)?;
    let log = exec_descriptor(&scene, &file)?;
    ensure!(
        log.attributes().flag(names::EXE_UNLINKED) == Some(true),
        "not flagged: {:?}",
        log.item.attributes
    );
    ensure!(log.attributes().flag(names::EXE_MEMFD).is_none(), "a file is flagged as memfd");
    Ok(())
}

/// An image and what was written over it, mounted as a container runtime does.
struct Overlay {
    folder: tempfile::TempDir,
}

impl Overlay {
    fn mount(context: &Context) -> anyhow::Result<Self> {
        let overlay = Self { folder: tempfile::tempdir()? };
        let at = |name: &str| overlay.folder.path().join(name);
        // A file system of its own: the one below need not be able to hold an upper layer.
        rustix::mount::mount("tmpfs", overlay.folder.path(), "tmpfs", MountFlags::empty(), None)?;
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(at(name))?;
        }
        copy(context, &at("lower/image"))?;
        let path = overlay.folder.path().display();
        let layers = format!("lowerdir={path}/lower,upperdir={path}/upper,workdir={path}/work");
        let layers = CString::new(layers)?;
        rustix::mount::mount(
            "overlay",
            at("merged"),
            "overlay",
            MountFlags::empty(),
            Some(layers.as_c_str()),
        )
        .context("cannot mount an overlay")?;
        Ok(overlay)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("merged").join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // What was not mounted cannot be unmounted; the folder goes either way.
        let _ = rustix::mount::unmount(self.folder.path().join("merged"), UnmountFlags::DETACH);
        let _ = rustix::mount::unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}

fn drift_is_flagged(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let overlay = Overlay::mount(context)?;
    copy(context, &overlay.path("drift"))?;
    for (name, expected) in [("image", None), ("drift", Some(true))] {
        let mut command = Command::new(overlay.path(name));
        command.args(["child", "--exit", "0"]);
        let log = exec(&scene, command)?;
        let found = log.attributes().flag(names::EXE_UPPER_LAYER);
        ensure!(found == expected, "{name}: {} is {found:?}", names::EXE_UPPER_LAYER);
        let path = log.attributes().text(names::EXE_PATH);
        ensure!(path == overlay.path(name).to_str(), "{name}: the executable is {path:?}");
    }
    Ok(())
}

fn directory_and_ids(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let path = folder.path().join("itest");
    copy(context, &path)?;
    let mut command = Command::new(&path);
    command.args(["child", "--exit", "0"]).current_dir(folder.path()).uid(12_345).gid(54_321);
    let log = exec(&scene, command)?;
    let found = log.attributes();
    let expected = fs::canonicalize(folder.path())?;
    ensure!(found.text(names::CWD) == expected.to_str(), "the directory is {:?}", found.text(names::CWD));
    ensure!(found.int(names::USER_ID) == Some(12_345), "the user is {:?}", found.int(names::USER_ID));
    ensure!(found.int(names::GROUP_ID) == Some(54_321), "the group is {:?}", found.int(names::GROUP_ID));
    Ok(())
}

fn by_a_thread(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let mut command = Command::new(&context.itest);
    command.args(["workload", "thread-exec"]);
    let (pid, status) = scene.run(command)?;
    ensure!(status.code() == Some(5), "the thread's program did not run: {status}");
    let last = event_of(&scene, names::EXIT, pid)?;
    ensure!(last.attributes().int(names::EXIT_CODE) == Some(5), "{:?}", last.item.attributes);
    let execs = scene.receiver.wait("two execs", ARRIVAL, |seen| {
        let execs: Vec<_> = seen.logs.iter().filter(|log| log.is(names::EXEC, pid)).cloned().collect();
        (execs.len() == 2).then_some(execs)
    })?;
    let second = execs.last().and_then(|log| log.attributes().texts(names::ARGS)).unwrap_or_default();
    ensure!(second.last() == Some(&"by-thread"), "the second exec has {second:?}");
    Ok(())
}

fn outside_of_the_scope(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exec")?;
    let mut outside = child(context, &["--exit", "0", "--marker", "outside"]);
    ensure!(outside.status()?.success(), "the process outside failed");
    super::barrier(context, &scene)?;
    let arguments = |log: &Item<LogRecord>| log.attributes().texts(names::ARGS).unwrap_or_default().join(" ");
    let told =
        scene.receiver.look(|seen| seen.logs.iter().map(arguments).find(|line| line.contains("outside")));
    ensure!(told.is_none(), "told although it is outside: {told:?}");
    Ok(())
}
