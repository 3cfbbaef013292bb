PAGE = "<!doctype html>"
POLICY = "default-src 'none'"
