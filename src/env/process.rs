//! What the operating system says of this process and its machine.

use std::fs;

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

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
    /// Bytes of memory that it could have: those of the machine, or of its container where that has less.
    pub memory_limit: u64,
    /// Seconds of CPU time in the kernel.
    pub cpu_system: f64,
    /// Seconds of CPU time in user mode.
    pub cpu_user: f64,
}

impl Process {
    /// Asks the system. Takes some tens of microseconds.
    pub fn now() -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let (cpu_user, cpu_system) = cpu(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
        let process = Self {
            id: std::process::id(),
            executable: std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
            os: [uname.sysname(), uname.release(), uname.machine()].map(text).join(" "),
            cpu_system,
            cpu_user,
            ..Self::default()
        };
        process.with_memory()
    }

    fn with_memory(mut self) -> Self {
        let Ok(mut system) = System::new() else { return self };
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.total_memory = system.total_memory();
        let container = system.cgroup_limits().map(|limits| limits.total_memory);
        self.memory_limit = container.map_or(self.total_memory, |limit| limit.min(self.total_memory));
        let me = Pid::from_u32(self.id);
        let wanted = ProcessRefreshKind::nothing().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[me]), false, wanted);
        self.resident = system.process(me).map_or(0, |process| process.memory());
        self
    }
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
    fn times_are_found_in_what_the_kernel_prints() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 75 0 0 20 0 1 0";
        assert_eq!(cpu(stat), (2.5, 0.75));
        assert_eq!(cpu(""), (0.0, 0.0));
    }

    #[test]
    fn a_process_knows_itself() {
        let process = Process::now();
        assert_eq!(process.id, std::process::id());
        assert!(process.resident > 0 && process.resident < process.memory_limit);
        assert!(process.memory_limit <= process.total_memory);
    }
}
