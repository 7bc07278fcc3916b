//! Which process is at the other end of a local connection.
//!
//! A process says who it is by the environment variable [`VARIABLE`] that it was started with. The kernel knows whose
//! socket it is: `/proc/net/tcp` has its inode, `/proc/<pid>/fd` who holds that. Needs no privileges among processes of
//! one user. Only connections over IPv4 loopback are looked up, which is what tests on one machine have.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// The variable whose value names a process.
pub const VARIABLE: &str = "PROXY_SOURCE";

/// The name of the process that holds the socket `theirs`, which is connected to `ours`. Reads `/proc`: milliseconds for
/// each process that has a name, and little for all others of the machine.
pub fn name_of(theirs: SocketAddr, ours: SocketAddr) -> Option<String> {
    let inode = inode_of(&fs::read_to_string("/proc/net/tcp").ok()?, theirs, ours)?;
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let is_process =
            process.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let name = is_process.then(|| value_of(&process.path()))??;
        holds(&process.path(), &wanted).then_some(name)
    })
}

/// The inode of a socket in the kernel's table.
fn inode_of(table: &str, theirs: SocketAddr, ours: SocketAddr) -> Option<u64> {
    let (theirs, ours) = (hexadecimal(theirs)?, hexadecimal(ours)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next()? == theirs && fields.next()? == ours).then(|| fields.nth(6)?.parse().ok())?
    })
}

/// An address as the kernel prints it: the bytes of the address in the machine's order, then the port.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(address) => {
            Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
        }
        SocketAddr::V6(_) => None,
    }
}

fn holds(process: &Path, wanted: &str) -> bool {
    fs::read_dir(process.join("fd")).is_ok_and(|descriptors| {
        descriptors
            .flatten()
            .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == wanted))
    })
}

fn value_of(process: &Path) -> Option<String> {
    let environment = fs::read(process.join("environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_by_both_addresses() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:A1B2 6509187F:2352 01 00000000:00000000 00:00000000 00000000  1000        0 424242 1 0 20 4 30 10 -1\n";
        let theirs = "127.0.0.1:41394".parse().expect("an address");
        let ours = "127.24.9.101:9042".parse().expect("an address");
        assert_eq!(inode_of(table, theirs, ours), Some(424_242));
        assert_eq!(inode_of(table, ours, theirs), None);
    }
}
