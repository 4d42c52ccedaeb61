"""Measuring `.tflite` files where they run: on a phone through `adb`, or on this machine."""

from keras_effvit.device.adb import Adb
from keras_effvit.device.benchmark import Schedule, benchmark
from keras_effvit.device.clock import phone_times
from keras_effvit.device.engine import Engine, Plan
from keras_effvit.device.errors import DeviceError
from keras_effvit.device.machine import host_device
from keras_effvit.device.phone import Phone
from keras_effvit.device.properties import properties
from keras_effvit.device.session import Conduct, Listeners, bench_host, bench_phone

__all__ = [
    "Adb",
    "Phone",
    "properties",
    "host_device",
    "bench_phone",
    "bench_host",
    "Schedule",
    "Plan",
    "Conduct",
    "Listeners",
    "benchmark",
    "Engine",
    "phone_times",
    "DeviceError",
]
