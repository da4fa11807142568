"""Two stores of runs as one, in which no finished run gives way to another training."""

from collections.abc import Sequence
from dataclasses import dataclass

from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.same_settings import in_words, records_differ


@dataclass(frozen=True)
class Merged:
    """
    :param records: all that there is now
    :param added: how many of the later ones are new
    :param replaced: how many took an earlier one's place
    :param kept: how many earlier ones are left
    """

    records: list[Record]
    added: int
    replaced: int
    kept: int


def merge(earlier: Sequence[Record], later: Sequence[Record]) -> Merged:
    """
    :param earlier: runs
    :param later: runs that take the place of earlier ones of the same training, or in the same folder
    :return: both, sorted as given
    :raises ValueError: if a finished run would give way to one with another seed, sequence or other settings
    """
    of_place = {place: record for record in later for place in (record.identity, (record.folder,))}
    kept, replacing = [], set()
    for record in earlier:
        newer = of_place.get(record.identity) or of_place.get((record.folder,))
        if newer is None:
            kept.append(record)
            continue
        if record.is_finished:
            _check_same(record, newer)
        replacing.add(newer.folder)
    return Merged([*kept, *later], len(later) - len(replacing), len(replacing), len(kept))


def _check_same(earlier: Record, later: Record) -> None:
    if differ := records_differ(earlier, later):
        raise ValueError(
            f"Expected the same training in {earlier.origin or earlier.folder} and in {later.origin or later.folder}, got two "
            f"({in_words(differ)}). One would take the other's place: rename one's folder, or use another archive."
        )
