"""What schemathesis is not to ask: a header that is not known is let pass, as HTTP wants it (RFC 9110, 5.1)."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    return "x-schemathesis-unknown-property" not in (case.headers or {})
