"""Simulated rooms: their acoustics, and a bank of them in one file."""

from .acoustics import direct_sample, reverberation_time
from .bank import RoomBank, make_bank
from .simulation import Room, simulate

__all__ = ["Room", "RoomBank", "direct_sample", "make_bank", "reverberation_time", "simulate"]
