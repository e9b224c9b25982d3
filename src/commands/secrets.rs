//! Which arguments are passwords: no log shows them.

use super::{Command, full_name, parse::is};

/// What stands in place of a secret, as in Redis.
const REDACTED: &[u8] = b"(redacted)";

/// Puts a word in place of every password among the arguments of a command.
pub fn redact<A: AsRef<[u8]> + From<Vec<u8>>>(command: &'static Command, args: &mut [A]) {
    let secrets = match full_name(command) {
        "auth" => 1..args.len(),
        // Whatever follows the word, even as a name, rather too much than too little.
        "hello" => match args.iter().position(|arg| is(arg.as_ref(), "auth")) {
            Some(auth) => auth + 1..args.len(),
            None => return,
        },
        "config|set" => {
            for pair in args.get_mut(2..).unwrap_or_default().chunks_exact_mut(2) {
                if is(pair[0].as_ref(), "requirepass") {
                    pair[1] = REDACTED.to_vec().into();
                }
            }
            return;
        }
        _ => return,
    };
    args[secrets].iter_mut().for_each(|secret| *secret = REDACTED.to_vec().into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::resolve;

    #[test]
    fn passwords_are_not_shown() {
        for (command, shown) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("auth me secret", "auth (redacted) (redacted)"),
            ("HELLO 3 auth me secret SETNAME x", "HELLO 3 auth (redacted) (redacted) (redacted) (redacted)"),
            ("HELLO 3 AUTH me", "HELLO 3 AUTH (redacted)"),
            ("HELLO 3", "HELLO 3"),
            ("CONFIG SET hz 10 RequirePass secret", "CONFIG SET hz 10 RequirePass (redacted)"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
            ("SET auth secret", "SET auth secret"),
        ] {
            let words: ringfort_protocol::OwnedArgs = command.split(' ').collect();
            let mut args: Vec<Vec<u8>> = words.as_args().iter().map(<[u8]>::to_vec).collect();
            redact(resolve(words.as_args()).unwrap(), &mut args);
            assert_eq!(String::from_utf8(args.join(&b' ')).unwrap(), shown);
        }
    }
}
