//! Link types, and what lies between them and IP.

use super::*;

#[test]
fn every_field_of_a_plain_packet() {
    let bench = Bench::of(LinkType::ETHERNET, &ethernet(0x0800, &tcp4()));
    assert_eq!(
        bench.packet,
        Packet {
            source: Address::v4(0xc000_0201),
            destination: Address::v4(0xc633_6402),
            source_port: 40_000,
            destination_port: 80,
            protocol: Packet::TCP,
            reassembled: false,
            vlan: Vlan::NONE,
            tcp: Tcp {
                sequence: 0x0102_0304,
                acknowledgment: 0x0a0b_0c0d,
                window: 0x2000,
                flags: Tcp::ACK | Tcp::PSH,
            },
            payload: Payload {
                start: 14 + 20 + 20,
                length: PAYLOAD.len() as u32,
                missing: 0,
            },
        }
    );
    bench.is_tcp4("ethernet");
    assert!(bench.decoder.tunnels().is_empty());
    assert!(size_of::<Packet>() <= 64, "one cache line");
}

#[test]
fn link_types() {
    const SNAP4: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00];
    let fddi = join(&[&[0x57], &[0; 12], SNAP4]);
    let avs = join(&[
        &[0x80, 0x21, 0x10, 0x01, 0, 0, 0, 64], // magic and version, length
        &[0; 56],
        DATA_FRAME,
        SNAP4,
    ]);
    let prism = join(&[
        &[0x44, 0, 0, 0, 144, 0, 0, 0], // message code, length
        &[0; 136],
        DATA_FRAME,
        SNAP4,
    ]);
    let wlan = join(&[DATA_FRAME, SNAP4]);
    let pflog = join(&[&[61, 2, 0, 0], &[0; 60]]); // 61 bytes, padded to 64
    let cases: &[(&str, LinkType, &[u8])] = &[
        ("null, little-endian", LinkType::NULL, &[2, 0, 0, 0]),
        ("null, big-endian", LinkType::NULL, &[0, 0, 0, 2]),
        ("loop", LinkType::LOOP, &[0, 0, 0, 2]),
        ("raw", LinkType::RAW, &[]),
        ("raw as DLT 12", LinkType::DLT_RAW, &[]),
        ("raw as DLT 14", LinkType::DLT_RAW_OPENBSD, &[]),
        ("ipv4", LinkType::IPV4, &[]),
        (
            "linux cooked",
            LinkType::LINUX_SLL,
            &[
                0, 0, 0, 1, // to us; ARPHRD_ETHER
                0, 6, 2, 0, 0, 0, 0, 1, 0, 0, // address length, address
                0x08, 0x00, // protocol
            ],
        ),
        (
            "linux cooked, 802.3 without Ethernet header",
            LinkType::LINUX_SLL,
            &[
                0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0,
            ],
        ),
        (
            "linux cooked 2",
            LinkType::LINUX_SLL2,
            &[
                0x08, 0x00, 0, 0, // protocol, reserved
                0, 0, 0, 3, 0, 1, 4, 6, // interface; ARPHRD_ETHER, type, address length
                2, 0, 0, 0, 0, 1, 0, 0, // address
            ],
        ),
        ("ppp", LinkType::PPP, &[0x00, 0x21]),
        (
            "ppp, address and control",
            LinkType::PPP,
            &[0xff, 0x03, 0x00, 0x21],
        ),
        ("ppp, short protocol", LinkType::PPP, &[0x21]),
        ("ppp, both", LinkType::PPP, &[0xff, 0x03, 0x21]),
        ("ppp in hdlc", LinkType::PPP_HDLC, &[0xff, 0x03, 0x00, 0x21]),
        (
            "cisco hdlc as ppp",
            LinkType::PPP_HDLC,
            &[0x0f, 0x00, 0x08, 0x00],
        ),
        ("cisco hdlc", LinkType::C_HDLC, &[0x8f, 0x00, 0x08, 0x00]),
        (
            "ppp with direction",
            LinkType::PPP_WITH_DIR,
            &[0x01, 0xff, 0x03, 0x00, 0x21],
        ),
        (
            "pppoe",
            LinkType::PPP_ETHER,
            &[0x11, 0, 0, 1, 0, 60, 0x00, 0x21], // version, code, id, length; protocol
        ),
        ("fddi", LinkType::FDDI, &fddi),
        ("enc", LinkType::ENC, &[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]),
        ("pflog", LinkType::PFLOG, &pflog),
        (
            "nflog, little-endian",
            LinkType::NFLOG,
            &[
                2, 0, 0, 5, // AF_INET, version, group
                5, 0, 10, 0, b'x', 0, 0, 0, // 5 bytes, padded: a prefix
                62, 0, 9, 0, // 58 bytes and 4: the packet
            ],
        ),
        (
            "nflog, big-endian",
            LinkType::NFLOG,
            &[2, 0, 0, 5, 0, 8, 0, 1, 8, 0, 1, 0, 0, 62, 0, 9],
        ),
        ("802.11", LinkType::IEEE802_11, &wlan),
        ("avs", LinkType::AVS, &avs),
        ("prism", LinkType::PRISM, &prism),
        (
            "ppi around raw",
            LinkType::PPI,
            &[0, 0, 8, 0, 101, 0, 0, 0], // version, flags, length, link type
        ),
    ];
    for (name, link, header) in cases {
        assert_eq!(tcp4().len(), 58, "lengths above count on it");
        Bench::of(*link, &join(&[header, &tcp4()])).is_tcp4(name);
    }
}

#[test]
fn link_types_with_ipv6() {
    let cases: &[(&str, LinkType, &[u8])] = &[
        ("null, linux", LinkType::NULL, &[10, 0, 0, 0]),
        ("null, netbsd", LinkType::NULL, &[24, 0, 0, 0]),
        ("null, freebsd", LinkType::NULL, &[28, 0, 0, 0]),
        ("null, macos", LinkType::NULL, &[30, 0, 0, 0]),
        ("null, macos, big-endian", LinkType::NULL, &[0, 0, 0, 30]),
        ("raw", LinkType::RAW, &[]),
        ("ipv6", LinkType::IPV6, &[]),
        ("ppp", LinkType::PPP, &[0x00, 0x57]),
        ("nflog", LinkType::NFLOG, &[10, 0, 0, 5, 70, 0, 9, 0]),
    ];
    for (name, link, header) in cases {
        assert_eq!(udp6().len(), 66, "lengths above count on it");
        Bench::of(*link, &join(&[header, &udp6()])).is_udp6(name);
    }
    Bench::of(LinkType::ETHERNET, &ethernet(0x86dd, &udp6())).is_udp6("ethernet");
}

#[test]
fn between_ethernet_and_ip() {
    let inner = ethernet(0x0800, &tcp4());
    /// Name, EtherType, bytes before the content, content, VLAN.
    type Case<'a> = (&'a str, u16, &'a [u8], &'a [u8], Option<u16>);
    let cases: &[Case<'_>] = &[
        (
            "802.1q",
            0x8100,
            &[0x60, 0x07, 0x08, 0x00],
            &tcp4(),
            Some(7),
        ),
        (
            "802.1ad",
            0x88a8,
            &[0, 9, 0x81, 0, 0, 7, 0x08, 0x00],
            &tcp4(),
            Some(9),
        ),
        (
            "three tags",
            0x9100,
            &[0, 3, 0x81, 0, 0, 4, 0x81, 0, 0, 5, 0x08, 0x00],
            &tcp4(),
            Some(3),
        ),
        (
            "priority tag",
            0x8100,
            &[0xe0, 0x00, 0x08, 0x00],
            &tcp4(),
            None,
        ),
        (
            "priority tag over a tag",
            0x8100,
            &[0, 0, 0x81, 0, 0, 6, 8, 0],
            &tcp4(),
            Some(6),
        ),
        (
            "802.3 and snap",
            66,
            &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00],
            &tcp4(),
            None,
        ),
        (
            "802.3 and 802.1h",
            66,
            &[0xaa, 0xaa, 3, 0, 0, 0xf8, 0x08, 0x00],
            &tcp4(),
            None,
        ),
        (
            "802.3 and ip's own access point",
            61,
            &[6, 6, 3],
            &tcp4(),
            None,
        ),
        (
            "tag over 802.3",
            0x8100,
            &[0, 7, 0, 66, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
            &tcp4(),
            Some(7),
        ),
        (
            "pppoe",
            0x8864,
            &[0x11, 0, 0, 1, 0, 60, 0x00, 0x21],
            &tcp4(),
            None,
        ),
        ("mpls", 0x8847, &[0, 1, 0x01, 64], &tcp4(), None),
        (
            "mpls stack",
            0x8848,
            &[0, 1, 0x00, 64, 0, 2, 0x01, 64],
            &tcp4(),
            None,
        ),
        ("mpls, Ethernet", 0x8847, &[0, 1, 0x01, 64], &inner, None),
        (
            "mpls, control word, Ethernet",
            0x8847,
            &[0, 1, 1, 64, 0, 0, 0, 5],
            &inner,
            None,
        ),
        ("backbone bridging", 0x88e7, &[0, 0, 0, 5], &inner, None),
        ("fabric path", 0x8903, &[0, 5], &inner, None),
        ("vn tag", 0x8926, &[0, 0, 0, 5, 0x08, 0x00], &tcp4(), None),
        (
            "e tag",
            0x893f,
            &[0, 0, 0, 5, 0, 0, 0x08, 0x00],
            &tcp4(),
            None,
        ),
        // service header: 2 words, type 2, next is IPv4; path and index
        (
            "service header",
            0x894f,
            &[0x0f, 0xc2, 2, 1, 0, 0, 1, 255],
            &tcp4(),
            None,
        ),
    ];
    for (name, kind, header, content, vlan) in cases {
        let bench = Bench::of(
            LinkType::ETHERNET,
            &ethernet(*kind, &join(&[header, content])),
        );
        bench.is_tcp4(name);
        assert_eq!(bench.packet.vlan.id(), *vlan, "{name}");
        assert!(bench.tunnels().is_empty(), "{name}");
    }
}

#[test]
fn mpls_tells_addresses_of_cards_from_ip() {
    // a card's address that begins as IPv6 does, and one as IPv4 does
    for first in [0x60, 0x45, 0x10, 0x00] {
        let mut inner = ethernet(0x0800, &tcp4());
        inner[0] = first;
        let frame = ethernet(0x8847, &join(&[&[0, 1, 1, 64], &inner]));
        Bench::of(LinkType::ETHERNET, &frame).is_tcp4("card");
    }
    // a source address that looks like an EtherType
    let mut inner = tcp4();
    inner[12..14].copy_from_slice(&[0x08, 0x00]);
    let frame = ethernet(0x8847, &join(&[&[0, 1, 1, 64], &inner]));
    let bench = Bench::of(LinkType::ETHERNET, &frame);
    assert_eq!(bench.flow(), "8.0.2.1 40000 > 198.51.100.2 80 6");
}

#[test]
fn wireless_frames() {
    let snap: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00];
    let addresses = [7; 18];
    let part = join(&[&[7; 12], &[0, 66], snap, &tcp4()]); // addresses, length, LLC
    let cases: &[(&str, &[u8], Vec<u8>)] = &[
        // name, control and flags and duration, what follows the first three addresses
        (
            "to the station",
            &[0x08, 0x02, 0, 0],
            join(&[&[0x10, 0], snap, &tcp4()]),
        ),
        (
            "retried",
            &[0x08, 0x09, 0, 0],
            join(&[&[0x10, 0], snap, &tcp4()]),
        ),
        (
            "four addresses",
            &[0x08, 0x03, 0, 0],
            join(&[&[0x10, 0], &[7; 6], snap, &tcp4()]),
        ),
        (
            "quality of service",
            &[0x88, 0x01, 0, 0],
            join(&[&[0x10, 0], &[5, 0], snap, &tcp4()]),
        ),
        (
            "high throughput control",
            &[0x88, 0x81, 0, 0],
            join(&[&[0x10, 0], &[5, 0], &[0; 4], snap, &tcp4()]),
        ),
        (
            "four addresses and quality of service",
            &[0x88, 0x03, 0, 0],
            join(&[&[0x10, 0], &[7; 6], &[5, 0], snap, &tcp4()]),
        ),
        (
            "aggregated",
            &[0x88, 0x01, 0, 0],
            join(&[&[0x10, 0], &[0x85, 0], &part, &[0, 0], &part]),
        ),
    ];
    for (name, start, rest) in cases {
        let frame = join(&[start, &addresses, rest]);
        Bench::of(LinkType::IEEE802_11, &frame).is_tcp4(name);
    }
    let not_ip: &[(&str, [u8; 2])] = &[
        ("beacon", [0x80, 0x00]),
        ("acknowledgment", [0xd4, 0x00]),
        ("no data", [0x48, 0x01]),
        ("protected", [0x08, 0x41]),
    ];
    for (name, start) in not_ip {
        let frame = join(&[start, &[0, 0], &addresses, &[0, 0], snap, &tcp4()]);
        assert_eq!(
            Bench::of(LinkType::IEEE802_11, &frame).outcome,
            Outcome::NotIp,
            "{name}"
        );
    }
    let fragment = join(&[&[0x08, 0x05, 0, 0], &addresses, &[0, 0], snap, &tcp4()]);
    assert_eq!(
        Bench::of(LinkType::IEEE802_11, &fragment).outcome,
        Outcome::Anomaly("ieee80211.fragment")
    );
}

#[test]
fn radiotap_headers() {
    let snap: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00];
    // no total length in the packet: only the frame tells that the last 4 bytes are a checksum
    let mut inner = tcp4();
    inner[2..4].fill(0);
    let plain = join(&[DATA_FRAME, snap, &inner]);
    let checked = join(&[&plain, &[0xde, 0xad, 0xbe, 0xef]]);
    let padded = join(&[
        &[0x88, 1, 0, 0],
        &[7; 18],
        &[0, 0],
        &[5, 0, 0, 0],
        snap,
        &inner,
    ]);
    let cases: &[(&str, &[u8], &[u8])] = &[
        ("nothing present", &[0, 0, 8, 0, 0, 0, 0, 0], &plain),
        ("flags", &[0, 0, 9, 0, 2, 0, 0, 0, 0x10], &checked),
        (
            "time and flags",
            &[0, 0, 17, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10],
            &checked,
        ),
        (
            "two bitmaps: the time is aligned",
            &[
                0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, // another bitmap follows; empty
                0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, // padding, time, flags
            ],
            &checked,
        ),
        ("padded header", &[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &padded),
    ];
    for (name, header, frame) in cases {
        let frame = join(&[header, frame]);
        Bench::of(LinkType::IEEE802_11_RADIOTAP, &frame).is_tcp4(name);
    }
    // PPI has the same flag: fields of type 2 and 20 bytes, the time, then flags
    let header = [0, 0, 32, 0, 105, 0, 0, 0, 2, 0, 20, 0];
    let field = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Bench::of(LinkType::PPI, &join(&[&header, &field, &checked])).is_tcp4("ppi");
}

#[test]
fn what_is_not_ip_is_nothing_odd() {
    let cases: &[(&str, LinkType, Vec<u8>)] = &[
        ("arp", LinkType::ETHERNET, ethernet(0x0806, &[0; 28])),
        ("lldp", LinkType::ETHERNET, ethernet(0x88cc, &[0; 28])),
        (
            "spanning tree",
            LinkType::ETHERNET,
            ethernet(38, &[0x42, 0x42, 3, 0, 0]),
        ),
        (
            "cdp",
            LinkType::ETHERNET,
            ethernet(38, &[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0]),
        ),
        (
            "pppoe discovery",
            LinkType::ETHERNET,
            ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0]),
        ),
        (
            "pppoe, code",
            LinkType::ETHERNET,
            ethernet(0x8864, &[0x11, 7, 0, 0, 0, 0]),
        ),
        (
            "ppp link control",
            LinkType::PPP,
            vec![0xff, 3, 0xc0, 0x21, 1, 1, 0, 4],
        ),
        (
            "netlink",
            LinkType::LINUX_SLL,
            join(&[&[0, 4, 0x03, 0x38], &[0; 10], &[0x08, 0]]),
        ),
        (
            "null, appletalk",
            LinkType::NULL,
            vec![16, 0, 0, 0, 1, 2, 3],
        ),
    ];
    for (name, link, frame) in cases {
        assert_eq!(Bench::of(*link, frame).outcome, Outcome::NotIp, "{name}");
    }
    let unknown = LinkType(230);
    assert_eq!(
        Bench::of(unknown, &tcp4()).outcome,
        Outcome::Unsupported(unknown)
    );
}

/// A data frame to the access point: control, duration, addresses, sequence.
const DATA_FRAME: &[u8] = &[
    0x08, 0x01, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0x10, 0,
];
