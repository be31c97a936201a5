"""A finished run goes on: new pictures are placed in it, more frames are added, two runs become one."""
