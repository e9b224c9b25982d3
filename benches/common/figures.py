"""What scripts that measure have in common: options, cells of tables, and the way of figures into a README.

A script has sections. Each gives tables in Markdown, which are printed below a line that names the machine, the versions
and the command, and take the place of the old ones between two marks in the README beside the script.
"""
import argparse
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys

import load
from servers import ROOT, binary

# --quick sends so many times fewer requests, to so many times fewer keys.
QUICK = 10
# More than this on the machine before the start makes figures doubtful.
QUIET_LOAD = 0.5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROGRAMS = ("redis-server", "redis-cli", "redis-benchmark")


class Script:
    """A script `benches/NAME/run` and its README. A section is a function of the options that returns tables."""

    def __init__(self, path, sections, rounds):
        self.readme = pathlib.Path(path).resolve().parent / "README.md"
        self.name = self.readme.parent.name
        self.command = f"benches/{self.name}/run"
        self.sections, self.rounds = sections, rounds

    def parser(self, description):
        """The options that all scripts have; a script may add its own."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true",
                            help=f"one round, {QUICK} times fewer requests and keys: a hint, printed but not written")
        parser.add_argument("--rounds", type=int, help=f"default: {self.rounds}, with --quick 1")
        parser.add_argument("--only", choices=self.sections)
        parser.add_argument("--binary", type=pathlib.Path, default=binary("release"))
        return parser

    def options(self, parser):
        """The command line, checked."""
        options = parser.parse_args()
        options.share = QUICK if options.quick else 1
        if options.rounds is None:
            options.rounds = 1 if options.quick else self.rounds
        if options.rounds < 1:
            parser.error("--rounds takes at least 1")
        if not options.binary.exists():
            parser.error(f"{options.binary} is not there: build it with `cargo build --release`")
        options.binary = options.binary.resolve()
        for program in PROGRAMS:
            if not shutil.which(program):
                parser.error(f"{program} is missing: scripts/setup installs it")
        return options

    def run(self, options, part=()):
        """Runs the sections, prints their tables and writes them; returns the exit status.

        `part` are the options that leave something out: figures of a part are printed only.
        """
        def interrupted(signum, frame):
            # A second Ctrl-C must not leave processes behind.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            raise KeyboardInterrupt

        for number in SIGNALS:
            signal.signal(number, interrupted)
        if os.getloadavg()[0] > QUIET_LOAD:
            self.say(f"the machine is busy (load {os.getloadavg()[0]:.1f}): figures are doubtful")
        try:
            # Before the figures are written, which changes the tree.
            machine = facts(options)
            for section in [options.only] if options.only else self.sections:
                tables = self.sections[section](options)
                figures = "\n".join([f"{machine} Made by `{self.made_by(options, section, part)}`.", "",
                                     *(table.markdown() for table in tables)])
                print(figures, flush=True)
                if not options.quick and not part:
                    self.readme.write_text(self.put(self.readme.read_text(), section, figures))
        except KeyboardInterrupt:
            self.say("interrupted")
            return 130
        except (load.Failure, RuntimeError, OSError, subprocess.SubprocessError) as failure:
            self.say(failure)
            return 1
        return 0

    def say(self, what):
        print(f"{self.name}: {what}", file=sys.stderr)

    def made_by(self, options, section, part):
        """The command that makes the figures of a section."""
        quick = ["--quick"] if options.quick else []
        return " ".join([self.command, *quick, "--only", section, *part, "--rounds", str(options.rounds)])

    def put(self, text, section, figures):
        """`text` with the figures of a section in place of its old ones."""
        begin, end = f"<!-- {section}: written by {self.command} -->", f"<!-- end of {section} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise load.Failure(f"{self.readme} has no place for the figures: the lines {begin} and {end}")
        return text[:text.index(begin) + len(begin)] + f"\n{figures}\n" + text[text.index(end):]


def spread(values, form):
    """`median (least to most)`."""
    text = form.format(statistics.median(values))
    if len(values) > 1:
        text += f" ({form.format(min(values))} to {form.format(max(values))})"
    return text


def ratio(values, base):
    """The median of the rounds' ratios to `base`."""
    return statistics.median(value / other for value, other in zip(values, base))


def rotated(servers, by):
    by %= len(servers)
    return servers[by:] + servers[:by]


def tell(options, turn, server, what):
    print(f"  round {turn + 1} of {options.rounds}: {server.name}: {what}", file=sys.stderr, flush=True)


def said(*command):
    """What a command prints; nothing where there is no such command."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def facts(options):
    """The machine and the versions."""
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"^model name\s*: (.*)", cpuinfo.read(), re.M)
    redis = re.search(r"v=(\S+)", said("redis-server", "--version"))[1]
    load_generator = said("redis-benchmark", "--version")
    commit = said("git", "describe", "--always", "--dirty")
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return (f"{os.cpu_count()} cores{f' ({model[1]})' if model else ''}, {system}; "
            f"{said(options.binary, '--version')}{f' ({commit})' if commit else ''}, redis-server {redis}, "
            f"{load_generator}.")
