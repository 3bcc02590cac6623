from dataclasses import dataclass

import pytest

from ccnet_train.errors import TrainError
from ccnet_train.launch import open_accelerator
from ccnet_train.picture_shares import measure_pictures


@dataclass(frozen=True)
class Square:
    index: int
    value: int

    def to_line(self):
        return f"{self.index} {self.value}"

    @classmethod
    def from_line(cls, line):
        return cls(*map(int, line.split()))


def squares(count, known=(), measured=None):
    def measure(index):
        if measured is not None:
            measured.append(index)
        return Square(index, index**2)

    with open_accelerator() as accelerator:
        return measure_pictures(count, measure, Square.from_line, accelerator, known=known, show=False)


def test_each_picture_is_measured_and_they_come_in_their_order():
    assert squares(4) == (Square(0, 0), Square(1, 1), Square(2, 4), Square(3, 9))


def test_what_is_known_is_not_measured_again_and_takes_its_place():
    measured = []
    assert squares(4, [Square(2, 40), Square(0, 7)], measured) == (
        Square(0, 7),
        Square(1, 1),
        Square(2, 40),
        Square(3, 9),
    )
    assert measured == [1, 3]


def test_an_error_of_a_picture_is_raised():
    def fail(index):
        raise TrainError(f"picture {index} is damaged")

    with open_accelerator() as accelerator, pytest.raises(TrainError, match="picture 0 is damaged"):
        measure_pictures(2, fail, Square.from_line, accelerator, known=(), show=False)
