"""`puna <verb>`: what people type. Each verb is one module, imported when it is used.

Promises: a user's mistake is an `error:` on standard error and exit code 2, never a traceback; standard output carries the result alone,
so that it can be piped. Knows terminals and arguments; what a verb does is the other rooms' business.
"""
