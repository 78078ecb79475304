//! Ports by the name of their service.
//!
//! Falco asks the node's /etc/services, so that one rule file means different things on different nodes. These
//! are the names that the service name registry of IANA has had for decades.

/// Name and port, by name.
const SERVICES: &[(&str, u16)] = &[
    ("bgp", 179),
    ("docker", 2375),
    ("docker-s", 2376),
    ("domain", 53),
    ("etcd-client", 2379),
    ("etcd-server", 2380),
    ("ftp", 21),
    ("ftp-data", 20),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ipp", 631),
    ("kerberos", 88),
    ("ldap", 389),
    ("ldaps", 636),
    ("microsoft-ds", 445),
    ("ms-sql-s", 1433),
    ("mysql", 3306),
    ("nfs", 2049),
    ("ntp", 123),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("redis", 6379),
    ("rsync", 873),
    ("smtp", 25),
    ("smtps", 465),
    ("snmp", 161),
    ("snmp-trap", 162),
    ("socks", 1080),
    ("ssh", 22),
    ("submission", 587),
    ("sunrpc", 111),
    ("syslog", 514),
    ("telnet", 23),
    ("tftp", 69),
    ("whois", 43),
];

/// The port of a service.
pub(super) fn port(name: &str) -> Option<u16> {
    let place = SERVICES.binary_search_by_key(&name, |(name, _)| name).ok()?;
    SERVICES.get(place).map(|(_, port)| *port)
}

/// The service that a port is known for: of several names the first.
pub(in crate::rules) fn name(port: u16) -> Option<&'static str> {
    SERVICES.iter().find(|(_, known)| *known == port).map(|(name, _)| *name)
}

#[test]
fn names_are_in_order() {
    assert_eq!((name(443), name(143), name(4)), (Some("https"), Some("imap"), None));
    assert!(SERVICES.is_sorted_by_key(|(name, _)| name));
    assert_eq!((port("https"), port("domain"), port("nobody")), (Some(443), Some(53), None));
}
