"""What blocks are read from and written to: files, block devices, streams, and the formats that QEMU knows."""
