//! One client connection, as a pure state machine: bytes in, bytes and holes out.
//!
//! A [`Session`] is fed what its client sent and the router of its loop. It parses commands where they lie, checks
//! them in Redis' order (arity, authentication, state), and runs each: at once where this node owns its keys,
//! else by a hole in its [`Output`] that the router fills later. It knows no socket and no clock.

mod output;
#[cfg(test)]
mod tests;
mod writes;

use ringfort_protocol::{Args, Parsed, Parser, Resp, Span, reply};

pub use self::{output::Output, writes::Writes};
use crate::{
    clients::{Client, Door, Pause, Replies},
    commandlog::{Kind, kept},
    commands::{
        self, Command, CommandError, Flags, Run,
        error::{is_error, is_refusal},
        session::{SessionCx, SessionHandler},
    },
    routing::{Completion, ConnKey, Executed, Hole, Origin, Place, Request, Router, WaitFor},
};

/// Replies that a connection may be owed before its next request is read.
pub const HOLES_LIMIT: usize = 4096;

/// Bytes that a connection may be owed before its next request is read.
pub const OUTPUT_LIMIT: usize = 64 << 20;

/// Commands that need the replies of all earlier ones first: WAIT, to know how far they wrote; those that change all
/// shards, to which they may be on their way; and MONITOR, whose lines wait for no reply.
const AFTER_ALL: [&[u8]; 5] = [b"wait", b"flushall", b"flushdb", b"swapdb", b"monitor"];

/// A connection.
#[derive(Debug)]
pub struct Session {
    /// What is known of the client.
    pub client: Client,
    /// What it is to be sent.
    pub output: Output,
    /// How far its writes reached: what WAIT waits for.
    pub writes: Writes,
    key: ConnKey,
    /// The reply that the next command waits for.
    blocked_on: Option<Hole>,
    /// The next command waits until all replies are there.
    postponed: bool,
    parser: Parser,
    spans: Vec<Span>,
    /// The next command waits for the end of CLIENT PAUSE.
    paused: bool,
    /// The command whose name it used last: most are followed by another one like them.
    recent: Option<&'static Command>,
    /// What it ran last, and what it has told others that it did.
    last: Option<&'static Command>,
    told: Option<&'static Command>,
}

impl Session {
    /// A new connection, which the loop knows by `key`.
    pub fn new(client: Client, key: ConnKey) -> Self {
        Self {
            client,
            key,
            output: Output::default(),
            writes: Writes::default(),
            blocked_on: None,
            postponed: false,
            parser: Parser::new(),
            spans: Vec::new(),
            paused: false,
            recent: None,
            last: None,
            told: None,
        }
    }

    /// Takes what the client sent, from the first byte that was not used yet, and runs the commands in it. Returns how
    /// many bytes were used; the rest must be given again with more behind it.
    pub fn receive(&mut self, input: &[u8], router: &mut Router) -> usize {
        let mut used = 0;
        // What was run before comes before the replies to what is run now.
        self.show_lines();
        let mut spans = std::mem::take(&mut self.spans);
        while used < input.len() && self.may_go_on() {
            let mut limits = router.settings.protocol;
            limits.authenticated = self.client.authenticated;
            match self.parser.parse(&input[used..], &mut spans, &limits) {
                Ok(Parsed::Command { len }) => {
                    let args = Args::new(&input[used..used + len], &spans);
                    if self.must_come_later(args) || !self.command(args, len, router) {
                        break;
                    }
                    used += len;
                }
                Ok(Parsed::Inline { len }) => {
                    let args = self.parser.inline_args();
                    if self.must_come_later(args.as_args()) || !self.command(args.as_args(), len, router) {
                        break;
                    }
                    used += len;
                }
                Ok(Parsed::Nothing { len }) => used += len,
                Ok(Parsed::Incomplete { .. }) => break,
                Err(error) => {
                    let mark = self.output.tail().mark();
                    reply::protocol_error(&mut self.output.tail().bytes, &error);
                    router.note_error(None, self.output.since(mark));
                    self.client.closing = true;
                    used = input.len();
                }
            }
        }
        self.spans = spans;
        self.tell_last();
        used
    }

    /// CLIENT PAUSE may be over.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether the next command is to be read now: not after QUIT, not while a command blocks or is paused, and not
    /// while the client does not take what it is owed.
    pub fn may_go_on(&self) -> bool {
        !self.client.closing
            && !self.paused
            && self.blocked_on.is_none()
            && (!self.postponed || self.output.holes() == 0)
            && self.output.kept_bytes() < OUTPUT_LIMIT
            && self.output.holes() < HOLES_LIMIT
            && self.output.ready().bytes.len() < OUTPUT_LIMIT
    }

    /// Its command has begun to wait for data.
    pub fn begin_to_wait(&self) {
        if self.blocked_on.is_some() {
            self.client.shared.set_blocked(true);
        }
    }

    /// Whether its command waits for data: then it is read on, to notice that its client goes.
    pub fn waits_for_data(&self) -> bool {
        self.blocked_on.is_some() && self.client.shared.is_blocked()
    }

    /// Whether it neither works nor waits for anything: then it may be closed for being silent.
    pub fn is_idle(&self) -> bool {
        self.output.holes() == 0 && !self.paused && self.client.monitor.is_none()
    }

    /// Passes on what its client watches, if it does.
    pub fn show_lines(&mut self) {
        let Some(monitor) = &self.client.monitor else { return };
        let lines = monitor.take();
        if self.client.replies != Replies::Off && !self.client.closing {
            self.output.interject(&lines);
        }
    }

    /// A reply from elsewhere is there.
    pub fn complete(&mut self, completion: &Completion, router: &Router) {
        let Completion { hole, reply, written, asked, .. } = completion;
        if let Some(command) = self.output.fill(*hole, reply)
            && is_error(reply)
        {
            router.note_error(Some(command), reply);
        }
        if self.blocked_on == Some(*hole) {
            self.blocked_on = None;
            self.client.shared.set_blocked(false);
        }
        self.writes.note(written);
        if let Some(asked) = asked {
            self.note(Kind::LargeReply, reply.len() as u64, asked.clone(), router);
        }
    }

    /// Whether a command needs the replies of all earlier ones first.
    fn must_come_later(&mut self, args: Args<'_>) -> bool {
        let is_late = || AFTER_ALL.iter().any(|name| args.at(0).eq_ignore_ascii_case(name));
        self.postponed = self.output.holes() > 0 && is_late();
        self.postponed
    }

    /// Runs a command of `len` bytes, or answers that it cannot be run. Returns `false` if it must wait for the end of
    /// CLIENT PAUSE: then it is to be given again.
    fn command(&mut self, args: Args<'_>, len: usize, router: &mut Router) -> bool {
        let checked = self.check(args);
        if router.pause != Pause::Nothing
            && let Ok(command) = checked
            && holds_up(router.pause, command)
        {
            self.paused = true;
            router.paused.push(self.key);
            return false;
        }
        self.client.replies = match self.client.replies {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip => Replies::On,
            replies => replies,
        };
        let before = self.client.replies;
        let discard = matches!(before, Replies::Off | Replies::Skip);
        let mark = self.output.tail().mark();
        match checked {
            Ok(command) => {
                self.last = Some(command);
                let is_elsewhere = self.run(command, args, discard, router);
                let lap = router.stopwatch.lap(&*router.node.clock);
                let nanos = lap.filter(|_| !is_elsewhere);
                router.tally.call(command.number, router.stopwatch.took());
                if is_error(self.output.since(mark)) {
                    router.note_error(Some(command), self.output.since(mark));
                }
                let (request, reply) = (len as u64, self.output.written_since(mark) as u64);
                if lap.is_some()
                    || router.settings.stands_out(Kind::LargeRequest, request)
                    || router.settings.stands_out(Kind::LargeReply, reply)
                {
                    self.look_closer(command, args, nanos, request, reply, router);
                    if router.watched && !is_refusal(self.output.since(mark)) {
                        self.show(command, args, router);
                    }
                }
            }
            Err(error) => {
                self.output.tail().error(&error);
                router.note_error(None, self.output.since(mark));
                if let Ok(command) = commands::named(args) {
                    router.tally.refuse(command.number);
                }
            }
        }
        let silenced = discard && self.client.replies == before;
        if silenced || (self.client.replies == Replies::Off && before != Replies::Off) {
            self.output.tail().rewind(mark);
        }
        true
    }

    /// Tells others what it ran last.
    fn tell_last(&mut self) {
        let Some(last) = self.last else { return };
        if !self.told.is_some_and(|told| std::ptr::eq(told, last)) {
            self.told = Some(last);
            self.client.shared.texts().command = commands::full_name(last);
        }
    }

    /// Remembers a command that took `nanos` nanoseconds, where somebody wants to know that, by whatever it stands out
    /// by. `request` and `reply` are bytes; a reply from elsewhere is not there yet.
    #[cold]
    fn look_closer(
        &self,
        command: &'static Command,
        args: Args<'_>,
        nanos: Option<u64>,
        request: u64,
        reply: u64,
        router: &mut Router,
    ) {
        if let Some(nanos) = nanos {
            router.note_time(command, nanos);
        }
        if command.flags.has(Flags::SKIP_SLOWLOG) {
            return;
        }
        let micros = nanos.map(|nanos| nanos / 1_000);
        let measures =
            [(Kind::Slow, micros), (Kind::LargeRequest, Some(request)), (Kind::LargeReply, Some(reply))];
        for (kind, value) in measures {
            if let Some(value) = value.filter(|value| router.settings.stands_out(kind, *value)) {
                let mut args = kept(args);
                commands::secrets::redact(command, &mut args);
                self.note(kind, value, args, router);
            }
        }
    }

    /// Shows a command to those who watch, and its own client at once if it is one of them.
    fn show(&mut self, command: &'static Command, args: Args<'_>, router: &Router) {
        commands::monitor::show(&router.node, &self.client, command, args);
        if !matches!(self.client.replies, Replies::Off | Replies::Skip) {
            self.show_lines();
        }
    }

    fn note(&self, kind: Kind, value: u64, args: Vec<Vec<u8>>, router: &Router) {
        let shared = &self.client.shared;
        router.note_command(kind, value, args, shared.peer.to_string(), shared.texts().name.clone());
    }

    /// Finds the command and decides whether this client may run it now.
    fn check(&mut self, args: Args<'_>) -> Result<&'static Command, CommandError> {
        self.recent = commands::find_again(args.at(0), self.recent);
        let command = commands::resolve_named(self.recent, args)?;
        if !self.client.authenticated && !command.flags.has(Flags::NO_AUTH) {
            return Err(CommandError::other("NOAUTH Authentication required."));
        }
        if self.client.monitor.is_some() && commands::monitor::is_denied(command) {
            return Err(CommandError::other("ERR Replica can't interact with the keyspace"));
        }
        Ok(command)
    }

    /// Runs a command, or has it run. Returns whether that is for another node alone, which measures it, too.
    fn run(&mut self, command: &'static Command, args: Args<'_>, discard: bool, router: &mut Router) -> bool {
        match command.run {
            Run::Session(handler) => self.run_here(command, handler, args, discard, router),
            Run::Wait => self.wait(command, args, discard, router),
            Run::Control => {
                let origin =
                    Origin::Client { conn: self.key, hole: self.output.leave_hole(discard, command) };
                router.for_control.push((origin, args.into()));
            }
            _ => return self.run_on_data(command, args, discard, router),
        }
        false
    }

    fn wait(&mut self, command: &'static Command, args: Args<'_>, discard: bool, router: &mut Router) {
        match WaitFor::parse(args) {
            Err(error) => self.output.tail().error(&error),
            Ok(what) => {
                let hole = self.output.leave_hole(discard, command);
                self.blocked_on = Some(hole);
                router.wait(Origin::Client { conn: self.key, hole }, what, self.writes.all());
                self.writes.forget_older_epochs();
            }
        }
    }

    /// Runs a command where its keys are. Returns whether that is for another node alone.
    fn run_on_data(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        discard: bool,
        router: &mut Router,
    ) -> bool {
        let waits = command.waits(args);
        let request = Request {
            command,
            args,
            db: self.client.db,
            resp: self.output.ready().resp,
            silent: self.client.no_touch,
            door: self.client.door,
            // A copy hears of no changes, so nobody waits at one.
            replica: self.client.readonly && command.flags.has(Flags::READONLY) && !waits,
            waits,
            waited: false,
        };
        let keys = router.keys(command, args);
        if self.client.door == Door::Cluster && keys.windows(2).any(|pair| pair[0].slot != pair[1].slot) {
            let text = "CROSSSLOT Keys in request don't hash to the same slot";
            self.output.tail().error(&CommandError::other(text));
            return false;
        }
        let place = match router.place(&request, &keys) {
            Place::Peer(_) | Place::Wait if request.replica && router.has_copies(&request, &keys) => {
                Place::Here
            }
            place => place,
        };
        let mut place = if router.must_queue(self.key, &request, &keys, place) { Place::Wait } else { place };
        if let (Door::Cluster, Place::Peer(owner)) = (self.client.door, place) {
            self.output.tail().error(&router.moved(&keys, owner));
            return false;
        }
        if place == Place::Here {
            let out = self.output.tail();
            match router.execute(&request, &keys, None, out) {
                Executed::Done(written) => {
                    self.writes.note(&written);
                    return false;
                }
                Executed::NotServing => place = Place::Wait,
                Executed::Waits => {}
            }
        }
        let hole = self.output.leave_hole(discard, command);
        // What finds further keys may be on its way to any shard, and what is for all shards is, so nothing may overtake
        // it.
        if request.waits || matches!(command.run, Run::Following(_) | Run::EachShard(_)) {
            self.blocked_on = Some(hole);
        }
        router.submit(Origin::Client { conn: self.key, hole }, request, &keys, place);
        matches!(place, Place::Peer(_))
    }

    /// Runs a command about the connection or the server.
    fn run_here(
        &mut self,
        command: &'static Command,
        handler: SessionHandler,
        args: Args<'_>,
        discard: bool,
        router: &mut Router,
    ) {
        self.tell_last();
        router.publish();
        let out = self.output.tail();
        let mark = out.mark();
        let (node, client, now) = (&router.node, &mut self.client, router.now);
        let mut cx = SessionCx { node, client, out, now, later: None, rests_on_lease: false };
        let result = handler(&mut cx, args);
        let SessionCx { later, rests_on_lease, .. } = cx;
        router.ran |= rests_on_lease;
        if let Err(error) = result {
            out.rewind(mark);
            out.error(&error);
        }
        // What it may have set is in force for the next command.
        router.reload();
        if self.client.monitor.is_some() {
            router.measure();
        }
        self.speak();
        if let Some(later) = later {
            let hole = self.output.leave_hole(discard, command);
            self.blocked_on = Some(hole);
            router.for_later.push((Origin::Client { conn: self.key, hole }, later));
        }
    }

    /// Speaks the version of RESP from now on that HELLO has chosen.
    fn speak(&mut self) {
        let chosen = if self.client.resp3 { Resp::V3 } else { Resp::V2 };
        if self.output.ready().resp != chosen {
            self.output.speak(chosen);
        }
    }
}

/// Whether a pause holds a command up. Redis holds up even what ends the pause; here, that goes through.
fn holds_up(pause: Pause, command: &Command) -> bool {
    match pause {
        Pause::Nothing => false,
        Pause::Writes => command.flags.has(Flags::WRITE) || command.flags.has(Flags::MAY_REPLICATE),
        Pause::All => command.name != "unpause",
    }
}
