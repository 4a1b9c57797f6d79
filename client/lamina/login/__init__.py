"""Signing in at an identity provider, for people: the device flow of RFC 8628, and the token that it brings.

    login = lamina.login.begin("https://sso.example.com/realms/corp", client_id="lamina")
    print(login.url, login.code)                       # a person opens the page, and enters the code
    lamina.login.keep(login.wait(), "lamina.example:7440")
    lamina.connect("lamina.example:7440", token=lamina.LoginToken("lamina.example:7440"))

`lamina login` does this on the command line. It knows no Lamina server: begin with device.py; provider.py speaks HTTP,
kept.py has the files, renewal.py the token.
"""

from lamina.login.device import DeviceLogin, begin
from lamina.login.kept import Login, addresses, find, forget, keep
from lamina.login.renewal import LoginToken

__all__ = ["DeviceLogin", "Login", "LoginToken", "addresses", "begin", "find", "forget", "keep"]
