//! Which requests are refused.

use axum::http::Request;

use super::*;

fn guard(token: Option<&Token>) -> Guard {
    Guard {
        hosts: vec!["cameras.example".to_owned()],
        token: token.cloned(),
        port: 8080,
        scheme: "http",
    }
}

fn ask(guard: &Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    guard.check(&request.body(()).unwrap().into_parts().0)
}

const HERE: (&str, &str) = ("host", "127.0.0.1:8080");
const OWN: (&str, &str) = ("origin", "http://127.0.0.1:8080");

#[test]
fn only_addresses_and_names_that_were_given_are_hosts() {
    let guard = guard(None);
    for host in [
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]:8080",
        "[fe80::1]",
        "localhost:9",
        "LOCALHOST",
        "Cameras.Example:8080",
    ] {
        assert_eq!(ask(&guard, "GET", "/", &[("host", host)]), Ok(()), "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "cameras.example.evil",
        "[::1].evil",
    ] {
        let refused = ask(&guard, "GET", "/", &[("host", host)]);
        assert!(refused.is_err(), "{host}");
    }
    assert_eq!(ask(&guard, "GET", "/", &[]), Err(Refusal::NoHost));
    let two = [HERE, ("host", "evil.example")];
    assert_eq!(ask(&guard, "GET", "/", &two), Err(Refusal::NoHost));
    let bad = [("host", "localhost:x")];
    assert_eq!(ask(&guard, "GET", "/", &bad), Err(Refusal::NoHost));
}

#[test]
fn without_the_token_only_the_empty_page_and_health_are_given() {
    let token = Token::fresh().unwrap();
    let guard = guard(Some(&token));
    for path in ["/", "/healthz", "/assets/app.js"] {
        assert_eq!(ask(&guard, "GET", path, &[HERE]), Ok(()), "{path}");
    }
    let wrong = format!("Bearer {}", Token::fresh().unwrap().secret());
    let old = format!("fermata-8080={}", Token::fresh().unwrap().cookie());
    let swapped = format!("fermata-8080={}", token.secret());
    let port = format!("fermata-8081={}", token.cookie());
    for header in [
        ("authorization", &*wrong),
        ("authorization", "Basic x"),
        ("cookie", &old),
        ("cookie", &swapped),
        ("cookie", &port),
    ] {
        for path in ["/ws", "/readyz", "/metrics", "/snapshot", "/session", "/x"] {
            let refused = ask(&guard, "GET", path, &[HERE, header]);
            assert_eq!(refused, Err(Refusal::NoToken), "{path} {header:?}");
        }
        for path in ["/drain", "/stop", "/", "/healthz", "/streams/add"] {
            let refused = ask(&guard, "POST", path, &[HERE, OWN, header]);
            assert_eq!(refused, Err(Refusal::NoToken), "{path} {header:?}");
        }
    }
    let bearer = format!("bearer {}", token.secret());
    let cookie = format!("a=b; {}", guard.cookie_for(token.secret()).unwrap());
    let cookie = cookie.split("; Path").next().unwrap();
    for header in [("authorization", &*bearer), ("cookie", cookie)] {
        assert_eq!(ask(&guard, "GET", "/metrics", &[HERE, header]), Ok(()));
        assert_eq!(ask(&guard, "POST", "/drain", &[HERE, OWN, header]), Ok(()));
    }
    assert_eq!(guard.cookie_for("x"), None);
}

#[test]
fn a_change_comes_from_the_page_itself() {
    let token = Token::fresh().unwrap();
    let cookie = format!("fermata-8080={}", token.cookie());
    let cookie = ("cookie", &*cookie);
    let bearer = format!("Bearer {}", token.secret());
    let bearer = ("authorization", &*bearer);
    let upgrade = ("upgrade", "websocket");
    for (guard, with) in [(guard(None), HERE), (guard(Some(&token)), cookie)] {
        for origin in [
            "http://evil.example",
            "http://127.0.0.1:8081",
            "ftp://127.0.0.1:8080",
            "http://127.0.0.1:8080.evil.example",
            "null",
            "",
        ] {
            let mut headers = vec![HERE, ("origin", origin)];
            headers.extend((with != HERE).then_some(with));
            for path in ["/stop", "/session"] {
                let refused = ask(&guard, "POST", path, &headers);
                assert_eq!(refused, Err(Refusal::ForeignOrigin), "{path} {origin}");
            }
            headers.push(upgrade);
            let refused = ask(&guard, "GET", "/ws", &headers);
            assert_eq!(refused, Err(Refusal::ForeignOrigin), "{origin}");
        }
        let mut none = vec![HERE];
        none.extend((with != HERE).then_some(with));
        let refused = ask(&guard, "POST", "/stop", &none);
        assert_eq!(refused, Err(Refusal::ForeignOrigin));
    }
    let guard = guard(Some(&token));
    assert_eq!(ask(&guard, "POST", "/stop", &[HERE, bearer]), Ok(()));
    assert_eq!(ask(&guard, "GET", "/ws", &[HERE, bearer, upgrade]), Ok(()));
    let foreign = [HERE, bearer, ("origin", "http://evil.example")];
    assert_eq!(
        ask(&guard, "POST", "/stop", &foreign),
        Err(Refusal::ForeignOrigin)
    );
    for origin in [OWN, ("origin", "https://127.0.0.1:8080")] {
        let own = [HERE, origin, cookie, upgrade];
        assert_eq!(ask(&guard, "GET", "/ws", &own), Ok(()));
    }
    let guard = Guard {
        scheme: "https",
        ..guard
    };
    let plain = ask(&guard, "POST", "/stop", &[HERE, OWN, cookie]);
    assert_eq!(plain, Err(Refusal::ForeignOrigin));
}
