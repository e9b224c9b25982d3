"""What is loaded to see how much memory an element takes: of each type, many small keys, and a single large one."""
import dataclasses
import typing

SMALL_KEYS, SMALL = 500, 10
LARGE = 100_000
LEAST, MOST = 8, 64


@dataclasses.dataclass(frozen=True)
class Kind:
    """A type of value, and the command that adds elements to a key."""

    name: str
    family: str
    command: str
    # The words of the element of a number.
    words: typing.Callable
    # Whether a command takes one element and no more.
    one_by_one: bool = False


def element(number):
    """The bytes of an element: 8 to 64 of them, each length as often as the others, and no two elements alike."""
    return (b"%08d" % number).ljust(LEAST + number * 37 % (MOST - LEAST + 1), b"x")


KINDS = [
    Kind("string", "string", "SET", lambda number: (element(number),), one_by_one=True),
    Kind("list", "list", "RPUSH", lambda number: (element(number),)),
    Kind("hash", "hash", "HSET", lambda number: (b"field:%06d" % number, element(number))),
    Kind("set", "set", "SADD", lambda number: (element(number),)),
    Kind("set of integers", "set", "SADD", lambda number: (number,)),
    Kind("zset", "zset", "ZADD", lambda number: (number * 7_919 % LARGE, element(number))),
    Kind("stream", "stream", "XADD", lambda number: (f"{number + 1}-0", "field", element(number)), one_by_one=True),
    Kind("hyperloglog", "hyperloglog", "PFADD", lambda number: (element(number),)),
]


@dataclasses.dataclass(frozen=True)
class Load:
    """So many keys of one type, with so many elements each."""

    kind: Kind
    keys: int
    size: int

    @property
    def label(self):
        if self.kind.name == "string":
            return f"{self.keys:,} keys"
        return f"{self.keys:,} keys of {self.size:,}" if self.keys > 1 else f"one key of {self.size:,}"

    def names(self):
        return [b"key:%d" % number for number in range(self.keys)]

    def commands(self, batch=1_000):
        """The commands that write it."""
        for at, name in enumerate(self.names()):
            numbers = range(at * self.size, (at + 1) * self.size)
            for first in range(0, self.size, 1 if self.kind.one_by_one else batch):
                some = numbers[first:first + (1 if self.kind.one_by_one else batch)]
                yield [self.kind.command, name, *(word for number in some for word in self.kind.words(number))]


def loads(kind, share):
    """What is loaded of a type, with the large size divided by `share`. A string is an element of its own."""
    if kind.name == "string":
        return [Load(kind, SMALL_KEYS * SMALL, 1), Load(kind, LARGE // share, 1)]
    return [Load(kind, SMALL_KEYS, SMALL), Load(kind, 1, LARGE // share)]
