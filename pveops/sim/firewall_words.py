"""Words of the firewall: macros with the traffic they stand for, protocols, ICMP types, services with a port."""

from __future__ import annotations

from typing import NamedTuple


class Macro(NamedTuple):
    """A named kind of traffic. ``version`` is 4 or 6 where it is only of that IP version, else 0; ``fixed`` is what each of its rules sets."""

    name: str
    about: str
    version: int
    fixed: tuple[dict[str, str], ...]


_TABLE = """
Amanda|backups with Amanda|udp/10080 tcp/10080
Auth|ident lookups|tcp/113
BGP|routes between autonomous systems (BGP)|tcp/179
BitTorrent|BitTorrent, ports of old clients|tcp/6881:6889 udp/6881
BitTorrent32|BitTorrent, ports of clients since 3.2|tcp/6881:6999 udp/6881
CVS|CVS pserver|tcp/2401
Ceph|Ceph: monitors, OSDs, metadata servers|tcp/6789 tcp/3300 tcp/6800:7300
Citrix|Citrix ICA sessions and browser|tcp/1494 udp/1604 tcp/2598
DAAP|music shares (DAAP)|tcp/3689 udp/3689
DCC|spam checksums (DCC)|tcp/6277
DHCPfwd|DHCP through a relay|udp/67:68/67:68
DHCPv6|DHCP for IPv6|udp/546:547/546:547
DNS|name resolution|udp/53 tcp/53
Distcc|distributed compiling|tcp/3632
FTP|file transfer (FTP), control connection|tcp/21
Finger|finger lookups|tcp/79
GNUnet|GNUnet peers|tcp/2086 udp/2086 tcp/1080 udp/1080
GRE|GRE tunnels|47/
Git|Git daemon|tcp/9418
HKP|OpenPGP key servers|tcp/11371
HTTP|web, plain|tcp/80
HTTPS|web over TLS|tcp/443
ICPV2|cache peers (ICP 2)|udp/3130
ICQ|ICQ and AIM|tcp/5190
IMAP|mailboxes (IMAP)|tcp/143
IMAPS|mailboxes (IMAP) over TLS|tcp/993
IPIP|IP in IP|94/
IPsec|IPsec with ESP|udp/500/500 50/
IPsecah|IPsec with AH|udp/500/500 51/
IPsecnat|IPsec through NAT|udp/500 udp/4500 50/
IRC|chat (IRC)|tcp/6667
Jetdirect|printers on port 9100|tcp/9100
L2TP|L2TP tunnels|udp/1701
LDAP|directories (LDAP)|tcp/389
LDAPS|directories (LDAP) over TLS|tcp/636
MDNS|names in the local network (mDNS)|udp/5353
MSNP|Microsoft Notification Protocol|tcp/1863
MSSQL|Microsoft SQL Server|tcp/1433
Mail|sending mail by any of its ports|tcp/25 tcp/465 tcp/587
Munin|Munin nodes|tcp/4949
MySQL|MySQL and MariaDB|tcp/3306
NNTP|news (NNTP)|tcp/119
NNTPS|news (NNTP) over TLS|tcp/563
NTP|time (NTP)|udp/123
NeighborDiscovery|what IPv6 needs to find neighbours|icmpv6//router-solicitation icmpv6//router-advertisement
OSPF|routes (OSPF)|89/
OpenVPN|OpenVPN|udp/1194
PCA|pcAnywhere|udp/5632 tcp/5631
PMG|web interface of Proxmox Mail Gateway|tcp/8006
POP3|mailboxes (POP3)|tcp/110
POP3S|mailboxes (POP3) over TLS|tcp/995
PPtP|PPTP tunnels|47/ tcp/1723
Ping|echo requests|icmp//echo-request
PostgreSQL|PostgreSQL|tcp/5432
Printer|print queues (LPD)|tcp/515
RDP|remote desktops (RDP)|tcp/3389
RIP|routes (RIP)|udp/520
RNDC|control of BIND|tcp/953
Razor|spam signatures (Razor)|tcp/2703
Rdate|time (rdate)|tcp/37
Rsync|rsync daemon|tcp/873
SANE|scanners|tcp/6566
SMB|Windows file shares|udp/135,445 udp/137:139 udp/1024:65535/137 tcp/135,139,445
SMBswat|SWAT, the web front end of Samba|tcp/901
SMTP|mail between servers|tcp/25
SMTPS|mail over TLS|tcp/465
SNMP|monitoring (SNMP)|udp/161:162 tcp/161
SPAMD|SpamAssassin daemon|tcp/783
SPICEproxy|consoles (SPICE) of Proxmox VE|tcp/3128
SSH|secure shell|tcp/22
SVN|Subversion server|tcp/3690
SixXS|IPv6 tunnels of SixXS|tcp/3874 udp/3740 41/ udp/5072,8374
Squid|Squid proxy|tcp/3128
Submission|mail from clients|tcp/587
Syslog|log lines (RFC 5424, RFC 3164)|udp/514 tcp/514
TFTP|file transfer (TFTP)|udp/69
Telnet|terminal in plain text|tcp/23
Telnets|terminal over TLS|tcp/992
Time|time (RFC 868)|tcp/37
Trcrt|traceroute of up to 30 hops|udp/33434:33524 icmp//echo-request
VNC|screens (VNC), displays 0 to 99|tcp/5900:5999
VNCL|screens (VNC), listening viewers|tcp/5500
Web|web, plain and over TLS|tcp/80 tcp/443
Webcache|web proxies on port 8080|tcp/8080
Webmin|Webmin|tcp/10000
Whois|who owns a name or address|tcp/43
"""


def _fixed(text: str) -> dict[str, str]:
    """``proto/dport/sport``; for ICMP the third part is the type."""
    proto, _, rest = text.partition("/")
    dport, _, last = rest.partition("/")
    found = {"proto": proto, "dport": dport, "icmp-type" if proto.startswith("icmp") else "sport": last}
    return {key: value for key, value in found.items() if value}


def _macros() -> dict[str, Macro]:
    found: dict[str, Macro] = {}
    for line in _TABLE.strip().splitlines():
        name, about, ports = line.split("|")
        version = 6 if name in ("DHCPv6", "NeighborDiscovery") else 4 if name == "DHCPfwd" else 0
        found[name.lower()] = Macro(name, about, version, tuple(_fixed(part) for part in ports.split()))
    return found


MACROS = _macros()
"""By name in lower case."""

ICMP_TYPES = frozenset(
    [
        "any",
        "echo-reply",
        "destination-unreachable",
        "network-unreachable",
        "host-unreachable",
        "protocol-unreachable",
        "port-unreachable",
        "fragmentation-needed",
        "source-route-failed",
        "network-unknown",
        "host-unknown",
        "network-prohibited",
        "host-prohibited",
        "TOS-network-unreachable",
        "TOS-host-unreachable",
        "communication-prohibited",
        "host-precedence-violation",
        "precedence-cutoff",
        "source-quench",
        "redirect",
        "network-redirect",
        "host-redirect",
        "TOS-network-redirect",
        "TOS-host-redirect",
        "echo-request",
        "router-advertisement",
        "router-solicitation",
        "time-exceeded",
        "ttl-zero-during-transit",
        "ttl-zero-during-reassembly",
        "parameter-problem",
        "ip-header-bad",
        "required-option-missing",
        "timestamp-request",
        "timestamp-reply",
        "address-mask-request",
        "address-mask-reply",
    ]
)
ICMPV6_TYPES = frozenset(
    [
        "destination-unreachable",
        "no-route",
        "communication-prohibited",
        "beyond-scope",
        "address-unreachable",
        "port-unreachable",
        "failed-policy",
        "reject-route",
        "packet-too-big",
        "time-exceeded",
        "ttl-zero-during-transit",
        "ttl-zero-during-reassembly",
        "parameter-problem",
        "bad-header",
        "unknown-header-type",
        "unknown-option",
        "echo-request",
        "echo-reply",
        "router-solicitation",
        "router-advertisement",
        "neighbor-solicitation",
        "neighbour-solicitation",
        "neighbor-advertisement",
        "neighbour-advertisement",
        "redirect",
    ]
)
PROTOCOLS = frozenset(
    [
        "ip",
        "icmp",
        "igmp",
        "ggp",
        "ipencap",
        "st",
        "tcp",
        "egp",
        "igp",
        "pup",
        "udp",
        "hmp",
        "xns-idp",
        "rdp",
        "iso-tp4",
        "dccp",
        "xtp",
        "ddp",
        "idpr-cmtp",
        "ipv6",
        "ipv6-route",
        "ipv6-frag",
        "idrp",
        "rsvp",
        "gre",
        "esp",
        "ah",
        "skip",
        "ipv6-icmp",
        "icmpv6",
        "ipv6-nonxt",
        "ipv6-opts",
        "rspf",
        "vmtp",
        "eigrp",
        "ospf",
        "ax.25",
        "ipip",
        "etherip",
        "encap",
        "pim",
        "ipcomp",
        "vrrp",
        "l2tp",
        "isis",
        "sctp",
        "fc",
        "mobility-header",
        "udplite",
        "mpls-in-ip",
        "manet",
        "hip",
        "shim6",
        "wesp",
        "rohc",
        "ethernet",
    ]
) | {str(number) for number in (*range(143), 254, 255)}
PROTOCOLS_WITH_PORTS = frozenset({"udp", "17", "udplite", "136", "tcp", "6", "dccp", "33", "sctp", "132"})
IS_ICMP = frozenset({"icmp", "1", "icmpv6", "ipv6-icmp", "58"})
HELPERS = frozenset({"amanda", "ftp", "irc", "netbios-ns", "pptp", "sane", "sip", "snmp", "tftp"})
SERVICES = frozenset(
    [
        "tcpmux",
        "echo",
        "discard",
        "systat",
        "daytime",
        "netstat",
        "qotd",
        "chargen",
        "ftp-data",
        "ftp",
        "fsp",
        "ssh",
        "telnet",
        "smtp",
        "time",
        "whois",
        "tacacs",
        "tacacs-ds",
        "domain",
        "bootps",
        "bootpc",
        "tftp",
        "gopher",
        "finger",
        "http",
        "kerberos",
        "iso-tsap",
        "acr-nema",
        "pop3",
        "sunrpc",
        "auth",
        "nntp",
        "ntp",
        "epmap",
        "netbios-ns",
        "netbios-dgm",
        "netbios-ssn",
        "imap2",
        "snmp",
        "snmp-trap",
        "cmip-man",
        "cmip-agent",
        "mailq",
        "xdmcp",
        "bgp",
        "smux",
        "qmtp",
        "z3950",
        "ipx",
        "ptp",
        "pawserv",
        "zserv",
        "rpc2portmap",
        "codaauth2",
        "clearcase",
        "ldap",
        "svrloc",
        "https",
        "snpp",
        "microsoft-ds",
        "kpasswd",
        "submissions",
        "igmpv3lite",
        "isakmp",
        "rtsp",
        "nqs",
        "asf-rmcp",
        "qmqp",
        "ipp",
        "exec",
        "biff",
        "login",
        "who",
        "shell",
        "syslog",
        "printer",
        "talk",
        "ntalk",
        "gdomap",
        "uucp",
        "klogin",
        "kshell",
        "dhcpv6-client",
        "dhcpv6-server",
        "afpovertcp",
        "nntps",
        "submission",
        "ldaps",
        "tinc",
        "silc",
        "kerberos-adm",
        "domain-s",
        "rsync",
        "ftps-data",
        "ftps",
        "telnets",
        "imaps",
        "pop3s",
        "socks",
        "proofd",
        "rootd",
        "openvpn",
        "rmiregistry",
        "lotusnote",
        "ms-sql-s",
        "ms-sql-m",
        "ingreslock",
        "datametrics",
        "sa-msg-port",
        "kermit",
        "groupwise",
        "l2f",
        "radius",
        "radius-acct",
        "cisco-sccp",
        "nfs",
        "gnunet",
        "rtcm-sc104",
        "gsigatekeeper",
        "gris",
        "cvspserver",
        "venus",
        "venus-se",
        "codasrv",
        "codasrv-se",
        "mon",
        "dict",
        "f5-globalsite",
        "gsiftp",
        "gpsd",
        "gds-db",
        "icpv2",
        "isns",
        "iscsi-target",
        "mysql",
        "ms-wbt-server",
        "nut",
        "distcc",
        "daap",
        "svn",
        "suucp",
        "sysrqd",
        "sieve",
        "f5-iquery",
        "epmd",
        "remctl",
        "ntske",
        "munin",
        "sip",
        "sip-tls",
        "xmpp-client",
        "xmpp-server",
        "cfengine",
        "mdns",
        "postgresql",
        "amqps",
        "amqp",
        "x11",
        "gnutella-svc",
        "gnutella-rtr",
        "redis",
        "sge-qmaster",
        "sge-execd",
        "mysql-proxy",
        "babel",
        "ircs-u",
        "bbs",
        "font-service",
        "zabbix-agent",
        "zabbix-trapper",
        "amanda",
        "dicom",
        "hkp",
        "nbd",
        "mtn",
        "puppet",
        "xprint",
        "tfido",
        "fido",
    ]
)
"""Names that stand for a port."""
