"""Images, which blocks are read from and written to: files, block devices, streams, and QEMU's formats."""
