//! What the operating system says of this process and its machine.

use std::sync::{Mutex, PoisonError};

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What the process has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Seconds of CPU time, of all threads together.
    pub cpu_seconds: f64,
    /// Bytes of memory that it holds in RAM.
    pub resident_bytes: u64,
}

/// The machine. Each question takes some tens of microseconds.
#[derive(Debug)]
pub struct Machine(Option<Mutex<System>>);

impl Default for Machine {
    fn default() -> Self {
        Self(System::new().ok().map(Mutex::new))
    }
}

impl Machine {
    /// Bytes of memory that the process could have: those of the machine, or of the container where that is less.
    /// `None` where the system does not tell.
    pub fn memory(&self) -> Option<u64> {
        let mut system = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let machine = system.total_memory();
        let container = system.cgroup_limits().map(|limits| limits.total_memory);
        Some(container.map_or(machine, |limit| limit.min(machine))).filter(|bytes| *bytes > 0)
    }

    /// What this process has used so far. `None` where the system does not tell.
    pub fn usage(&self) -> Option<Usage> {
        let mut system = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let me = Pid::from_u32(std::process::id());
        let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[me]), false, wanted);
        let process = system.process(me)?;
        let cpu_seconds = process.accumulated_cpu_time() as f64 / 1_000.0;
        Some(Usage { cpu_seconds, resident_bytes: process.memory() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_part_of_its_machine_and_its_time_grows() {
        let machine = Machine::default();
        let before = machine.usage().unwrap();
        assert!(before.resident_bytes > 0 && before.resident_bytes < machine.memory().unwrap());
        let mut bits = 1u64;
        while machine.usage().unwrap().cpu_seconds <= before.cpu_seconds {
            bits = std::hint::black_box(bits.rotate_left(7) ^ 5);
        }
    }
}
