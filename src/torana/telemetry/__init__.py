"""What is told about requests: a Record each, counted into Metrics and written as a line of the access log.

Names and labels are agentgateway's and OpenTelemetry's. Nothing here influences a request, and prompts, answers and
credentials never get here: a Record has no place for them.
"""
