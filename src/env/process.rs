//! What the operating system says of this process and its machine.

use std::fs;

/// Facts about this process. What the system does not tell is 0 or empty.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// The file that it runs.
    pub executable: String,
    /// The system, its release and the machine's kind: `Linux 6.1.0 x86_64`.
    pub os: String,
    /// Bytes of memory that it has in RAM.
    pub resident: u64,
    /// Bytes of memory of the machine.
    pub total_memory: u64,
    /// Seconds of CPU time in the kernel.
    pub cpu_system: f64,
    /// Seconds of CPU time in user mode.
    pub cpu_user: f64,
}

impl Process {
    /// Asks the system. Takes some tens of microseconds.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let (cpu_user, cpu_system) = cpu(&stat);
        Self {
            id: std::process::id(),
            executable: std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
            os: [uname.sysname(), uname.release(), uname.machine()].map(text).join(" "),
            resident: kibibytes(&status, "VmRSS:"),
            total_memory: kibibytes(&memory, "MemTotal:"),
            cpu_system,
            cpu_user,
        }
    }
}

/// The bytes in a line like `VmRSS:  1234 kB`.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// User and system time in seconds: the 14th and 15th field of `/proc/self/stat`, in hundredths. The second field is
/// the program's name, which may hold anything.
fn cpu(stat: &str) -> (f64, f64) {
    let behind_name = stat.rsplit_once(')').map_or("", |parts| parts.1);
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut seconds = || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
    (seconds(), seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_the_kernel_prints() {
        assert_eq!(kibibytes("VmHWM:\t 9 kB\nVmRSS:\t    2048 kB\n", "VmRSS:"), 2 << 20);
        assert_eq!(kibibytes("", "VmRSS:"), 0);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 75 0 0 20 0 1 0";
        assert_eq!(cpu(stat), (2.5, 0.75));
        assert_eq!(cpu(""), (0.0, 0.0));
    }

    #[test]
    fn a_process_knows_itself() {
        let process = Process::now();
        assert_eq!(process.id, std::process::id());
        assert!(process.resident > 0 && process.total_memory > process.resident);
    }
}
