//! What a simulation has done, for the eyes of whoever runs it.

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub runs: u64,
    pub steps: u64,
    pub polls: u64,
    pub connections: u64,
    pub published: u64,
    pub resolved: u64,
    pub full: u64,
    pub waited: u64,
    pub cancelled: u64,
    pub calls: u64,
    pub answers: u64,
    pub sent: u64,
    pub taken: u64,
    pub streams: u64,
    pub faults: u64,
    pub redirects: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.polls += other.polls;
        self.connections += other.connections;
        self.published += other.published;
        self.resolved += other.resolved;
        self.full += other.full;
        self.waited += other.waited;
        self.cancelled += other.cancelled;
        self.calls += other.calls;
        self.answers += other.answers;
        self.sent += other.sent;
        self.taken += other.taken;
        self.streams += other.streams;
        self.faults += other.faults;
        self.redirects += other.redirects;
    }
}
