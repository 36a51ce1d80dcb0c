"""The client: moves disks into and out of snapshots, by the EBS direct APIs alone, against Snapstone and AWS alike."""
