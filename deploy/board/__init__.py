"""The exported C on a microcontroller: compiled for a bare board and run in an emulator."""
