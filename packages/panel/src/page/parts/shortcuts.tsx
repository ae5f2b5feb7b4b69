/** Keys that lead to places: `g`, then the place's key; `?` lists them. */
import { Modal } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { places } from '../places.ts';

const secondKeyMs = 1500;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

/** @param allowed the places that this person has */
export function Shortcuts({ allowed }: { allowed: readonly (typeof places)[number][] }) {
  const navigate = useNavigate();
  const [isOpen, setOpen] = useState(false);
  const began = useRef(0);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (event.key === '?') setOpen(true);
      else if (event.key === 'g') began.current = event.timeStamp;
      else if (event.key === '/') {
        const search = document.querySelector<HTMLInputElement>('input[type="search"]');
        if (search) event.preventDefault();
        search?.focus();
      } else if (began.current > 0 && event.timeStamp - began.current < secondKeyMs) {
        began.current = 0;
        const place = allowed.find(({ key }) => key === event.key);
        if (place) void navigate({ to: place.to });
      }
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [allowed, navigate]);
  return (
    <Modal opened={isOpen} onClose={() => setOpen(false)} title="Keys">
      <table className="plain">
        <tbody>
          {allowed.map(({ name, key }) => (
            <tr key={key}>
              <td>
                <kbd>g</kbd> <kbd>{key}</kbd>
              </td>
              <td>{name}</td>
            </tr>
          ))}
          <tr>
            <td>
              <kbd>/</kbd>
            </td>
            <td>Search in this list</td>
          </tr>
          <tr>
            <td>
              <kbd>?</kbd>
            </td>
            <td>This help</td>
          </tr>
        </tbody>
      </table>
    </Modal>
  );
}
