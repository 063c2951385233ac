"""Stages on several hosts: one derain stage serves many pairs of a decode and an encode stage, each pair one stream.

    decode ──Join──▶ derain ◀──Join── encode          the derain stage binds one address, the others connect to it
           ─frames─▶        ─frames─▶
           ◀Written─        ◀Written─

**Nothing is lost and nothing doubled.** Frames are numbered. The decode stage keeps each until the encode stage has
written it (`Written`), the derain stage keeps each derained one as long; how many that may be is bounded. Whoever lost
its connection, or was restarted, joins again under the stream's name:

* encode again, with the frame it wants next: from what the derain stage has kept, else the decode stage sends again;
  an encode stage that has begun a new file wants frame 0, and its source is decoded again;
* decode again: it is told how many frames have arrived, decodes those without sending them, and goes on;
* derain again: it knows nothing, waits for both, and has the decode stage send from the frame that encode wants next.
  The membranes begin at zero there, which is counted as a reset with the reason "restart".

A live source can't be decoded again; there a frame lost on the way is counted instead (`StreamSender.lost`).
"""
