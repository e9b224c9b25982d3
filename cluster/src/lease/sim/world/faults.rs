//! What goes wrong in the world, and how it is mended again.

use super::*;

impl World {
    pub(super) fn fault(&mut self) {
        // Raft's own timeout: a leader that reaches no majority is replaced.
        if !self.leader.is_some_and(|leader| self.leads(leader)) && self.rng.percent(30) {
            self.elect_any();
        }
        if !self.troubled() {
            self.heal();
            self.after(100 * MS, Event::Fault);
            return;
        }
        if !self.plan.faults.is_empty() {
            let pick = self.rng.range(0, self.plan.faults.len() as u64) as usize;
            let (fault, nodes) = self.plan.faults[pick].clone();
            let node = nodes[self.rng.range(0, nodes.len() as u64) as usize];
            self.befall(fault, node);
        }
        let (least, most) = self.plan.every;
        let delay = self.rng.range(least * MS, most * MS);
        self.after(delay, Event::Fault);
    }

    pub(super) fn heal(&mut self) {
        self.cuts.retain(|_, until| *until == u64::MAX);
        for node in 1..=self.plan.nodes {
            let lost = self.plan.faults.iter().any(|(fault, _)| *fault == Fault::Lose);
            if self.machines[usize::from(node)].process.is_none() && !lost {
                self.start(node);
            }
        }
    }

    pub(super) fn elect_any(&mut self) {
        let node = self.rng.range(1, u64::from(self.plan.nodes) + 1) as u8;
        let voters = &self.machines[usize::from(node)].raft.voters;
        let committed = self.councils[self.committed - 1].0.stamp;
        if voters.contains(id(node)) && voters.stamp >= committed && self.leads(node) {
            self.crown(node);
        }
    }

    pub(super) fn befall(&mut self, fault: Fault, node: u8) {
        let (now, nodes) = (self.now, self.plan.nodes);
        let long = self.rng.range(50 * MS, 500 * MS);
        match fault {
            Fault::Crash => {
                self.crash(node);
                let soon = self.rng.range(MS, 30 * MS);
                let delay = if self.rng.percent(60) { soon } else { long };
                self.after(delay, Event::Start { node });
            }
            Fault::Lose => self.crash(node),
            Fault::Pause => self.machine(node).paused_until = now + long,
            Fault::Stall => self.machine(node).stall = long,
            Fault::Cut => {
                let other = self.rng.range(1, u64::from(nodes) + 1) as u8;
                self.cut(node, other, now + long);
                if self.rng.percent(70) {
                    self.cut(other, node, now + long);
                }
            }
            Fault::Isolate => {
                for other in 1..=nodes {
                    self.cut(node, other, now + long);
                    self.cut(other, node, now + long);
                }
            }
            Fault::Deafen => (1..=nodes).for_each(|other| self.cut(other, node, u64::MAX)),
            Fault::Elect => self.elect_any(),
            Fault::Reform => self.reform(),
            Fault::Reset => self.reset(node),
        }
    }

    pub(super) fn cut(&mut self, from: u8, to: u8, until: u64) {
        if from != to {
            let cut = self.cuts.entry((from, to)).or_insert(0);
            *cut = (*cut).max(until);
        }
    }

    /// One or two voters are replaced by nodes that do not vote yet.
    pub(super) fn reform(&mut self) {
        let Some(leader) = self.leader.filter(|leader| self.leads(*leader)) else {
            return;
        };
        let own = self.machines[usize::from(leader)].raft.voters.clone();
        if !own.new.is_empty() || self.committed != self.councils.len() {
            return;
        }
        let others: Vec<u8> = (1..=self.plan.nodes).filter(|node| !own.contains(id(*node))).collect();
        let leaving: Vec<NodeId> = own.old.iter().copied().filter(|node| *node != id(leader)).collect();
        if others.is_empty() || leaving.is_empty() {
            return;
        }
        let joins = others[self.rng.range(0, others.len() as u64) as usize];
        let leaves = leaving[self.rng.range(0, leaving.len() as u64) as usize];
        let both = self.rng.percent(50) && others.len() == leaving.len();
        let replaced = |node: NodeId| {
            if both { leaving.contains(&node) } else { node == leaves }
        };
        let mut new = own.old.clone();
        new.retain(|node| !replaced(*node));
        new.extend(others.iter().filter(|node| both || **node == joins).map(|node| id(*node)));
        let joint = Voters { stamp: self.next_stamp(), old: own.old, new };
        self.append(leader, joint);
    }

    /// A firewall refuses connections to a node that is well. Were that taken for proof of its death, it would count
    /// like a beat of its next incarnation.
    pub(super) fn reset(&mut self, node: u8) {
        if self.plan.rules.no_proof {
            return;
        }
        let machine = &self.machines[usize::from(node)];
        let proof = Datagram {
            from: Member { node: id(node), incarnation: Incarnation(machine.incarnation + 1) },
            to: id(node),
            body: Body::Beat(Beat {
                counter: 1,
                sent: BootTime(1),
                lease: LEASE,
                heard: 0,
                knows: Stamp::default(),
                wall_ms: 0,
            }),
        };
        for to in 1..=self.plan.nodes {
            let mut bytes = Vec::new();
            let proof = Datagram { to: id(to), ..proof.clone() };
            self.wire.encode(&proof, &mut bytes);
            if to != node {
                self.after(MS, Event::Deliver { to, from: node, bytes });
            }
        }
    }
}
