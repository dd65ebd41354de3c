//! Which addresses are asked: http and https, hosts that the settings allow, and none of the inner network by way of a name.

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why an address is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is no address of http or https without user and password")]
    Address,
    #[error("{0} is not among its allowed_hosts")]
    Host(String),
    #[error("{0} is an address of an inner network: write it into allowed_hosts, or set allow_private")]
    Inner(IpAddr),
    #[error("{0} leads to an address of an inner network: set allow_private if that is meant")]
    InnerName(String),
    #[error("it leads from https to http")]
    Downgrade,
}

/// Checks an address before it is asked; whether a name leads elsewhere than it should is checked by [`Guard`].
pub(super) fn check(url: &Url, allowed: &[String], private: bool) -> Result<(), Refused> {
    let is_plain = url.username().is_empty() && url.password().is_none();
    let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let (true, true, Some(host)) = (matches!(url.scheme(), "http" | "https"), is_plain, host) else {
        return Err(Refused::Address);
    };
    let address: Option<IpAddr> = host.parse().ok();
    let is_same = |allowed: &&String| match address {
        // one address has several spellings
        Some(address) => allowed.parse() == Ok(address),
        None => allowed.eq_ignore_ascii_case(host),
    };
    match (allowed.iter().find(is_same), address) {
        // an inner address that is allowed was written as such
        (Some(_), _) => Ok(()),
        (None, Some(address)) if is_inner(address) && !private => Err(Refused::Inner(address)),
        (None, _) => Err(Refused::Host(host.to_owned())),
    }
}

/// An address for logs: where, and nothing of what may be a secret.
pub(super) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Finds the addresses of a name, and gives none of an inner network unless that is allowed. It is asked for each connection, so
/// that a name which leads elsewhere the second time is of no use.
pub(super) struct Guard {
    pub(super) private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (n_found, mut found) = (found.len(), found);
            found.retain(|at| private || !is_inner(at.ip()));
            if found.is_empty() && n_found > 0 {
                return Err(Refused::InnerName(name.as_str().to_owned()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is none of the public internet: what IANA lists as not globally reachable, and what stands for such an
/// address in IPv6.
pub(super) fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_inner_v4(address),
        IpAddr::V6(address) => is_inner_v6(address),
    }
}

fn is_inner_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        // this network, multicast, reserved, broadcast
        || a == 0
        || a >= 224
        // shared between a carrier and its customers (RFC 6598), protocol assignments (RFC 6890), benchmarks (RFC 2544)
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b))
}

fn is_inner_v6(address: Ipv6Addr) -> bool {
    let [a, b, between @ .., y, z] = address.segments();
    let within = |high: u16, low: u16| is_inner_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_inner_v4(mapped);
    }
    match (a, b) {
        // unspecified, loopback, the old form of an IPv4 address
        (0, _) => true,
        // an IPv4 address behind a translator (64:ff9b::/96, RFC 6052), and in 6to4 (RFC 3056)
        (0x64, 0xff9b) if between == [0; 4] => within(y, z),
        (0x2002, high) => within(high, between[0]),
        // Teredo and other protocols' own, documentation
        (0x2001, 0..0x200 | 0xdb8) => true,
        // only 2000::/3 is given out: not unique local, link-local, site-local or multicast addresses, nor a translator's own in
        // an inner network (64:ff9b:1::/48, RFC 8215)
        _ => !(0x2000..0x4000).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_known_in_all_their_forms() {
        for inner in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::808:808",
            "64:ff9b:1:ffff::808:808",
            "64:ff9b:1::a00:1",
            "64:ff9b:0:1::808:808",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:db8::1",
            "fec0::1",
        ] {
            assert!(is_inner(inner.parse().unwrap()), "{inner}");
        }
        for outer in
            ["8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
        {
            assert!(!is_inner(outer.parse().unwrap()), "{outer}");
        }
    }

    #[test]
    fn only_allowed_hosts_are_asked_whatever_their_address_looks_like() {
        let allowed = ["Data.example.gov".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let asked = |text: &str, private| check(&text.parse().unwrap(), &allowed, private);
        for good in ["https://data.EXAMPLE.gov/a.csv", "http://127.0.0.1:8080/", "http://2130706433/", "http://[::1]/"]
        {
            assert_eq!(asked(good, false), Ok(()), "{good}");
        }
        for bad in ["ftp://data.example.gov/", "file:///etc/passwd", "https://u:p@data.example.gov/", "data:,x"] {
            assert_eq!(asked(bad, true), Err(Refused::Address), "{bad}");
        }
        for other in [
            "https://data.example.gov.evil.example/",
            "https://evil.example/data.example.gov",
            "https://data.example.gov./",
        ] {
            assert!(matches!(asked(other, false), Err(Refused::Host(_))), "{other}");
        }
        for inner in ["http://169.254.169.254/latest", "http://0x7f.2/", "http://[::ffff:127.0.0.1]/"] {
            assert!(matches!(asked(inner, false), Err(Refused::Inner(_))), "{inner}");
            assert!(matches!(asked(inner, true), Err(Refused::Host(_))), "{inner}: it is no allowed host");
        }
        let secret = "https://data.example.gov/a.csv?token=hunter2".parse().unwrap();
        assert_eq!(shown(&secret), "https://data.example.gov/a.csv");
    }
}
