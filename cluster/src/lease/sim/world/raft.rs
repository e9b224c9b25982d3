//! A Raft that is reduced to what leases see of it: one log of topologies, one chain of configurations of the council.

use super::*;

impl World {
    pub(super) fn propose(&mut self, term: u64, change: &Change) {
        let Some(leader) = self.leader.filter(|_| term == self.term) else {
            return;
        };
        if !self.leads(leader) {
            return;
        }
        let newest = self.councils.last().unwrap().0.stamp;
        if let Change::End { by: Verdict::Council { term, index }, .. } = change
            && newest != (Stamp { term: *term, index: *index })
        {
            return;
        }
        let mut next = Topology::clone(self.log.last().unwrap());
        if next.apply(change).is_ok() {
            self.commit(next);
            if let Change::End { member, .. } = change {
                self.declare(*member);
            }
        }
        if let (Change::End { member, .. }, false) = (change, self.plan.rules.no_readmission) {
            let mut next = Topology::clone(self.log.last().unwrap());
            let node = next.nodes.get_mut(&member.node).unwrap();
            if node.info.member() == *member {
                node.state = NodeState::Alive;
                next.version = next.version.next();
                self.commit(next);
            }
        }
    }

    pub(super) fn commit(&mut self, next: Topology) {
        self.log.push(Arc::new(next));
        for node in 1..=self.plan.nodes {
            self.apply_later(node);
        }
    }

    /// Whether this node reaches a majority by the newest configuration that it has.
    pub(super) fn leads(&self, node: u8) -> bool {
        let voters = &self.machines[usize::from(node)].raft.voters;
        voters.majority(|voter| self.reaches(node, index(voter)))
    }

    pub(super) fn hears_leader(&self, node: u8) -> bool {
        self.leader.is_some_and(|leader| self.reaches(leader, node))
    }

    pub(super) fn apply_later(&mut self, node: u8) {
        let delay = self.rng.range(MS / 2, self.plan.apply_lag * MS);
        if !std::mem::replace(&mut self.machine(node).applying, true) {
            self.after(delay, Event::Apply { node });
        }
    }

    /// A node applies some of what it has not applied yet.
    pub(super) fn apply(&mut self, node: u8) {
        self.machine(node).applying = false;
        if self.machines[usize::from(node)].process.is_none() {
            return;
        }
        let behind = self.log.len() - 1 - self.machines[usize::from(node)].applied;
        if behind > 0 && self.hears_leader(node) {
            let some = self.rng.range(1, behind as u64 + 1) as usize;
            self.machine(node).applied += some;
            let topology = self.log[self.machines[usize::from(node)].applied].clone();
            // What is applied is on disk here, so settled refusals go.
            let now = self.now;
            let machine = self.machine(node);
            let boot = machine.reading(now).boot;
            if let Some(agent) = &mut machine.process {
                agent.adopt(boot, topology.clone());
                let needed: BTreeSet<_> = agent.prune(&topology).collect();
                machine.refusals.retain(|member| needed.contains(member));
            }
            self.wake(node);
        }
        if self.machines[usize::from(node)].applied + 1 < self.log.len() {
            self.apply_later(node);
        }
    }

    /// Whether the node has applied all that its log has before the configuration before its newest.
    pub(super) fn settled(&self, node: u8) -> bool {
        let machine = &self.machines[usize::from(node)];
        let known = machine.raft.voters.stamp;
        let at = self.councils.iter().rposition(|(voters, _)| voters.stamp == known);
        at.is_some_and(|at| at == 0 || machine.applied + 1 >= self.councils[at - 1].1)
    }

    /// A node hears who leads, and takes over one configuration of the council.
    pub(super) fn hear(&mut self, node: u8) {
        if self.machines[usize::from(node)].process.is_none() {
            return;
        }
        if self.hears_leader(node) {
            let (term, leader) = (self.term, self.leader.map(id));
            let known = self.machines[usize::from(node)].raft.voters.stamp;
            // What it has beyond the leader's log is cut off.
            let at = self.councils.iter().rposition(|(voters, _)| voters.stamp <= known);
            let next = at.map_or(0, |at| (at + 1).min(self.councils.len() - 1));
            let voters = self.councils[next].0.clone();
            let machine = self.machine(node);
            machine.raft.term = term;
            machine.raft.leader = leader;
            machine.raft.voters = voters;
            self.wake(node);
        }
        self.after(30 * MS, Event::Hear { node });
    }

    pub(super) fn lead(&mut self, node: u8, term: u64) {
        let voters = &self.machines[usize::from(node)].raft.voters;
        let committed = self.councils[self.committed - 1].0.stamp;
        let eligible = voters.contains(id(node)) && voters.stamp >= committed;
        if term != self.term || self.leader == Some(node) || !eligible || !self.leads(node) {
            return;
        }
        if self.leader.is_some_and(|leader| self.reaches(leader, node))
            && self.leader.is_some_and(|l| self.leads(l))
        {
            // Pre-Vote: the leader is well.
            return;
        }
        self.story.called += 1;
        self.crown(node);
    }

    pub(super) fn crown(&mut self, node: u8) {
        self.term += 1;
        self.leader = Some(node);
        // What the others have beyond its log is lost; it has all that is committed.
        let newest = self.machines[usize::from(node)].raft.voters.stamp;
        self.councils.retain(|(voters, _)| voters.stamp <= newest);
        self.machine(node).applied = self.log.len() - 1;
        let (term, leader) = (self.term, Some(id(node)));
        let machine = self.machine(node);
        machine.raft.term = term;
        machine.raft.leader = leader;
        self.wake(node);
        self.after(10 * MS, Event::Advance);
    }

    /// The leader carries a change of the council on: a joint configuration that both majorities have is committed,
    /// and then the new half alone is appended.
    pub(super) fn advance(&mut self) {
        let Some(leader) = self.leader.filter(|leader| self.leads(*leader)) else {
            return;
        };
        let own = self.machines[usize::from(leader)].raft.voters.clone();
        let has = |node: NodeId| self.machines[usize::from(index(node))].raft.voters.stamp >= own.stamp;
        if own.stamp != self.councils.last().unwrap().0.stamp || !own.majority(has) {
            self.after(5 * MS, Event::Advance);
            return;
        }
        self.committed = self.councils.len();
        if !own.new.is_empty() {
            let next = Voters { stamp: self.next_stamp(), old: own.new, new: Vec::new() };
            self.append(leader, next);
        }
    }

    pub(super) fn next_stamp(&self) -> Stamp {
        Stamp { term: self.term, index: self.councils.last().unwrap().0.stamp.index + 1 }
    }

    pub(super) fn append(&mut self, leader: u8, voters: Voters) {
        self.councils.push((voters.clone(), self.log.len()));
        self.machine(leader).raft.voters = voters;
        self.wake(leader);
        self.after(2 * MS, Event::Advance);
    }

    /// The node asks to be admitted until it is.
    pub(super) fn admit(&mut self, node: u8) {
        let machine = &self.machines[usize::from(node)];
        let me = info(node, machine.incarnation);
        if machine.process.is_none() || self.log.last().unwrap().is_alive(me.member()) {
            return;
        }
        if self.hears_leader(node) {
            self.propose(self.term, &Change::Admit(me));
        }
        let delay = self.rng.range(5 * MS, 40 * MS);
        self.after(delay, Event::Admit { node });
    }

    // ---- Faults
}
