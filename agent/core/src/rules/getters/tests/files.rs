//! Files and paths.

use tarsier_abi::syscall::{Call, FMODE_CREATED, FileFacts, PartKind, file_flag, part_flag};
use zerocopy::IntoBytes;

use super::sample::record;

const REGULAR: u32 = 0o100_644;
const AT_FDCWD: i64 = -100;

#[test]
fn an_opened_file() {
    record(Call::openat, 3, &[AT_FDCWD, 0, 0o2_000_000, 0])
        .path("/etc//shadow")
        .file(REGULAR, b"shadow\0etc\0")
        .gives(&[
            ("evt.type", "openat"),
            ("evt.category", "file"),
            ("evt.res", "SUCCESS"),
            ("evt.rawres", "3"),
            ("evt.failed", "false"),
            ("evt.is_open_read", "true"),
            ("evt.is_open_write", "false"),
            ("evt.is_open_exec", "false"),
            ("evt.is_open_create", "false"),
            ("evt.is_io", "false"),
            ("fd.num", "3"),
            ("fd.type", "file"),
            ("fd.typechar", "f"),
            ("fd.name", "/etc/shadow"),
            ("fd.nameraw", "/etc/shadow"),
            ("fd.directory", "/etc"),
            ("fd.filename", "shadow"),
            ("fd.containername", "0123456789ab:/etc/shadow"),
            ("fd.containerdirectory", "0123456789ab:/etc"),
            ("fd.uid", "7013"),
            ("fd.ino", "42"),
            ("fd.dev", "2049"),
            ("fd.dev.major", "8"),
            ("fd.dev.minor", "1"),
            ("fd.l4proto", "<NA>"),
            ("fd.sockfamily", "-"),
            ("fd.ip", "-"),
            ("fs.path.name", "/etc/shadow"),
            ("fs.path.nameraw", "/etc//shadow"),
            ("fs.path.source", "-"),
            ("evt.abspath", "/etc/shadow"),
            ("evt.arg.name", "/etc//shadow"),
            ("evt.arg.flags", "O_RDONLY|O_CLOEXEC"),
            ("evt.arg[0]", "<f>/etc/shadow"),
            (
                "evt.args",
                "fd=3(<f>/etc/shadow) dirfd=-100(AT_FDCWD) name=/etc//shadow flags=4097(O_RDONLY|O_CLOEXEC) \
                 mode=0 dev=801 ino=42",
            ),
        ]);
}

#[test]
fn a_file_that_is_not_there() {
    record(Call::open, -2, &[0, 0o101, 0o755]).path("x/../y").part(PartKind::Dir, b"app\0").gives(&[
        ("evt.res", "ENOENT"),
        ("evt.rawres", "-2"),
        ("evt.failed", "true"),
        ("evt.is_open_write", "true"),
        ("evt.is_open_read", "false"),
        ("evt.is_open_exec", "true"),
        ("evt.is_open_create", "false"),
        ("fd.num", "-1"),
        ("fd.type", "-"),
        ("fd.typechar", "f"),
        ("fd.name", "/app/y"),
        ("fd.nameraw", "x/../y"),
        ("fd.directory", "/app"),
        ("fd.filename", "y"),
        ("fd.ino", "-"),
        ("evt.arg.name", "/app/y"),
        ("evt.arg.fd", "ENOENT"),
        ("evt.args", "fd=-2(ENOENT) name=x/../y(/app/y) flags=6(O_CREAT|O_WRONLY) mode=0755 dev=0 ino=0"),
    ]);
}

#[test]
fn opening_makes_files() {
    let made = FileFacts { file_mode: FMODE_CREATED, mode: REGULAR, fd: 4, ..FileFacts::default() };
    let upper = FileFacts { flags: file_flag::OVERLAY | file_flag::UPPER_LAYER, ..made };
    record(Call::openat2, 4, &[5, 0, 0o102, 0o644, 0x04])
        .part(PartKind::File, upper.as_bytes())
        .path("new")
        .part(PartKind::Dir, b"tmp\0")
        .gives(&[
            ("evt.is_open_create", "true"),
            ("evt.is_open_read", "true"),
            ("evt.is_open_write", "true"),
            ("fd.is_upper_layer", "true"),
            ("fd.is_lower_layer", "false"),
            ("evt.arg.flags", "O_CREAT|O_RDWR|O_F_CREATED|FD_UPPER_LAYER"),
            ("evt.arg.resolve", "RESOLVE_NO_SYMLINKS"),
            ("evt.arg.dirfd", "<d>/tmp"),
            ("fd.name", "/tmp/new"),
        ]);
    record(Call::creat, 4, &[0, 0o700]).part(PartKind::File, made.as_bytes()).path("/tmp/a").gives(&[
        ("evt.is_open_write", "true"),
        ("evt.is_open_exec", "true"),
        ("evt.is_open_create", "true"),
        ("evt.arg.mode", "0700"),
        ("evt.arg.flags", "O_TRUNC|O_CREAT|O_WRONLY|O_F_CREATED"),
    ]);
    // A file without a name.
    record(Call::open, 4, &[0, 0o20_200_002, 0o600]).path("/tmp").gives(&[
        ("evt.is_open_create", "true"),
        ("evt.is_open_exec", "false"),
        ("evt.arg.mode", "0600"),
    ]);
    record(Call::open_by_handle_at, 4, &[3, 0, 0o1]).file(REGULAR, b"f\0srv\0").gives(&[
        ("fd.name", "/srv/f"),
        ("fs.path.name", "/srv/f"),
        ("evt.arg.path", "/srv/f"),
        ("evt.is_open_write", "true"),
        ("evt.is_open_create", "false"),
    ]);
}

#[test]
fn directories_and_what_has_no_name() {
    record(Call::open, 3, &[0, 0o200_000, 0]).path("/etc/").file(0o040_755, b"etc\0").gives(&[
        ("fd.typechar", "d"),
        ("fd.type", "directory"),
        ("fd.name", "/etc"),
        ("fd.directory", "/etc"),
        ("fd.filename", "-"),
    ]);
    record(Call::memfd_create, 3, &[0, 1])
        .part(PartKind::File, FileFacts { mode: 0o100_777, fd: 3, ..FileFacts::default() }.as_bytes())
        .path("payload")
        .gives(&[
            ("fd.typechar", "m"),
            ("fd.type", "memfd"),
            ("fd.name", "payload"),
            ("evt.category", "memory"),
            ("evt.arg.flags", "MFD_CLOEXEC"),
            ("fs.path.name", "-"),
        ]);
    let pipe = FileFacts { mode: 0o010_600, fd: 0, ..FileFacts::default() };
    record(Call::dup2, 0, &[5, 0])
        .part(PartKind::File, pipe.as_bytes())
        .flagged(PartKind::FilePath, part_flag::DETACHED, b"")
        .gives(&[("fd.num", "0"), ("fd.type", "pipe"), ("fd.name", ""), ("evt.category", "ipc")]);
    record(Call::dup, 6, &[5])
        .part(PartKind::File, FileFacts { mode: 0o600, ..FileFacts::default() }.as_bytes())
        .flagged(PartKind::FilePath, part_flag::DETACHED, b"[eventfd]\0")
        .gives(&[
            ("fd.type", "event"),
            ("fd.name", "[eventfd]"),
            ("evt.args", "res=6(<e>[eventfd]) oldfd=5(<e>[eventfd])"),
        ]);
}

#[test]
fn calls_on_paths() {
    record(Call::unlinkat, 0, &[3, 0, 0x200]).path("b").part(PartKind::Dir, b"a\0").gives(&[
        ("fd.num", "-"),
        ("fd.name", "-"),
        ("fs.path.name", "/a/b"),
        ("evt.abspath", "/a/b"),
        ("evt.arg.name", "/a/b"),
        ("evt.args", "res=0 dirfd=3(<d>/a) name=b(/a/b) flags=512(AT_REMOVEDIR)"),
    ]);
    record(Call::rename, 0, &[])
        .path("/a")
        .part(PartKind::Path2, b"c/../b")
        .part(PartKind::Dir2, b"d\0")
        .gives(&[
            ("fs.path.name", "-"),
            ("fs.path.source", "/a"),
            ("fs.path.target", "/d/b"),
            ("fs.path.targetraw", "c/../b"),
            ("evt.args", "res=0 oldpath=/a newpath=c/../b(/d/b)"),
        ]);
    record(Call::renameat2, -17, &[AT_FDCWD, 0, AT_FDCWD, 0, 1])
        .path("/a")
        .part(PartKind::Path2, b"/b")
        .gives(&[
            ("fs.path.source", "-"),
            ("evt.res", "EEXIST"),
            ("evt.abspath.src", "/a"),
            ("evt.abspath.dst", "/b"),
            ("evt.arg.flags", "RENAME_NOREPLACE"),
        ]);
    record(Call::linkat, 0, &[AT_FDCWD, 0, AT_FDCWD, 0, 0])
        .path("/etc/shadow")
        .part(PartKind::Path2, b"/tmp/x")
        .gives(&[
            ("fs.path.source", "/tmp/x"),
            ("fs.path.target", "/etc/shadow"),
            ("evt.arg.oldpath", "/etc/shadow"),
            ("evt.arg.newpath", "/tmp/x"),
        ]);
    record(Call::symlinkat, 0, &[0, AT_FDCWD]).path("../etc").part(PartKind::Path2, b"/tmp/x").gives(&[
        ("evt.arg.target", "../etc"),
        ("evt.arg.linkpath", "/tmp/x"),
        ("fs.path.source", "/tmp/x"),
        ("fs.path.target", "/etc"),
        ("fs.path.targetraw", "../etc"),
    ]);
    record(Call::fchmodat, 0, &[AT_FDCWD, 0, 0o4755]).path("/a").gives(&[
        ("evt.arg.filename", "/a"),
        ("evt.arg.mode", "S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID"),
        ("evt.arg[1]", "AT_FDCWD"),
    ]);
    record(Call::fchmod, 0, &[3, 0o600]).file(REGULAR, b"a\0").gives(&[
        ("fs.path.name", "/a"),
        ("fd.name", "/a"),
        ("evt.args", "res=0 fd=3(<f>/a) mode=0600(S_IWUSR|S_IRUSR)"),
    ]);
    record(Call::mount, 0, &[0, 0, 0, 0x1000]).path("tmpfs").part(PartKind::Path2, b"/mnt").gives(&[
        ("fs.path.source", "tmpfs"),
        ("fs.path.target", "/mnt"),
        ("evt.args", "res=0 dev=tmpfs dir=/mnt flags=4096(BIND)"),
    ]);
    record(Call::mkdir, 0, &[0, 0o755]).path("/x").gives(&[("evt.args", "res=0 path=/x mode=1ED")]);
    record(Call::rmdir, -14, &[]).flagged(PartKind::Path, part_flag::UNREADABLE, b"").gives(&[
        ("evt.arg.path", "<NA>"),
        ("fs.path.name", "-"),
        ("evt.args", "res=-14(EFAULT) path=<NA>"),
    ]);
}
