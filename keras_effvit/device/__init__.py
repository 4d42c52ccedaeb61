"""Measuring `.tflite` files where they run: on a phone through `adb`, or on this machine."""
