"""Hours of mixed use, and whether the gateway holds more at their end than at their beginning: `make soak`.

A *client* does one kind of thing again and again, well-behaved or not. A *version* of the configuration is put in every
few seconds. A *sample* is what the gateway's process holds at one moment. The *verdict* is on the slope of the samples'
second half, on what is held when all clients have left, and on the answers of those who behaved.
"""
