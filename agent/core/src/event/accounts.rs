//! Users and groups by number: what `passwd(5)` and `group(5)` of one root directory say.

/// Users and groups of one root directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Sorted by id.
    users: Box<[(u32, Line)]>,
    /// Sorted by id.
    groups: Box<[(u32, Box<str>)]>,
}

/// What is kept of a line of `passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: Box<str>,
    home: Box<str>,
    shell: Box<str>,
}

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// Name.
    pub name: &'a str,
    /// Home directory.
    pub home: &'a str,
    /// Login shell.
    pub shell: &'a str,
}

impl Accounts {
    /// Reads both files. Lines that are none are left out; of several with one id the first one counts, as for `getpwuid(3)`.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let users = lines(passwd).filter_map(|line| {
            let [name, _, id, _, _, home, shell] = fields(line)?;
            Some((id.parse().ok()?, Line { name: name.into(), home: home.into(), shell: shell.into() }))
        });
        let groups = lines(group).filter_map(|line| {
            let [name, _, id, _] = fields(line)?;
            Some((id.parse().ok()?, name.into()))
        });
        Self { users: by_id(users.collect()), groups: by_id(groups.collect()) }
    }

    /// The user with this id.
    pub fn user(&self, uid: u32) -> Option<User<'_>> {
        let place = self.users.binary_search_by_key(&uid, |(id, _)| *id).ok()?;
        let Line { name, home, shell } = &self.users[place].1;
        Some(User { name, home, shell })
    }

    /// The name of the group with this id.
    pub fn group(&self, gid: u32) -> Option<&str> {
        let place = self.groups.binary_search_by_key(&gid, |(id, _)| *id).ok()?;
        Some(&self.groups[place].1)
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let texts = |line: &Line| line.name.len() + line.home.len() + line.shell.len();
        let users: usize = self.users.iter().map(|(_, line)| size_of::<(u32, Line)>() + texts(line)).sum();
        let groups: usize =
            self.groups.iter().map(|(_, name)| size_of::<(u32, Box<str>)>() + name.len()).sum();
        users + groups
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok())
}

/// The fields of a line, if it has at least as many and a name: what follows the last one belongs to it.
fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut parts = line.splitn(N, ':');
    let mut fields = [""; N];
    for field in &mut fields {
        *field = parts.next()?;
    }
    (!fields[0].is_empty() && !fields[0].starts_with(['#', '+', '-'])).then_some(fields)
}

fn by_id<T>(mut lines: Vec<(u32, T)>) -> Box<[(u32, T)]> {
    // Stable: the first line of an id stays in front.
    lines.sort_by_key(|(id, _)| *id);
    lines.dedup_by_key(|(id, _)| *id);
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_none_is_left_out() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\n\
            toor:x:0:0::/root:/bin/sh\n\
            # web:x:7:7::/:/bin/sh\n\
            +nis:x:8:8::/:/bin/sh\n\
            :x:9:9::/:/bin/sh\n\
            short:x:10\n\
            minus:x:-1:1::/:/bin/sh\n\
            latin\xe9:x:11:11::/:/bin/sh\n\
            web:x:33:33:Web, 1:/var/www:/usr/sbin/nologin\n\
            last:x:4294967294:1:::";
        let group = b"root:x:0:\nwww-data:x:33:web,root\nbad:x\nother:x:33:\n";
        let accounts = Accounts::parse(passwd, group);
        assert_eq!(accounts.user(0), Some(User { name: "root", home: "/root", shell: "/bin/bash" }));
        let web = User { name: "web", home: "/var/www", shell: "/usr/sbin/nologin" };
        assert_eq!(accounts.user(33), Some(web));
        assert_eq!(accounts.user(4_294_967_294), Some(User { name: "last", home: "", shell: "" }));
        assert_eq!([7, 8, 9, 10, 11, u32::MAX].map(|uid| accounts.user(uid)), [None; 6]);
        assert_eq!([0, 33, 1].map(|gid| accounts.group(gid)), [Some("root"), Some("www-data"), None]);
        assert!(accounts.bytes() > 60);
        assert_eq!(Accounts::parse(b"", b"\0\xff").bytes(), 0);
    }
}
